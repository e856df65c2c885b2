# cython: language_level=3, boundscheck=False
# The compiled form of fields.py.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeLatin1, PyUnicode_DecodeUTF8
from libc.string cimport memchr, memcmp, memcpy

from rover.http import Headers
from rover_plugin_http2 import fields


def split(list lines not None):
    cdef Py_ssize_t pseudo = 0, others = 0, size, crumbs = 0
    cdef bytes line, first, second
    cdef const char *text
    cdef char *at
    for line in lines:
        text = PyBytes_AS_STRING(line)
        size = PyBytes_GET_SIZE(line)
        if size >= 7 and memcmp(text, b"cookie\0", 7) == 0:
            crumbs += 1
        if crumbs > 1 or memchr(text, 10, size) != NULL:
            return fields.split(lines)
        if text[0] == 58 and not others:  # a colon
            pseudo += size + 1
        else:
            others += size + 1
    first = PyBytes_FromStringAndSize(NULL, pseudo)
    second = PyBytes_FromStringAndSize(NULL, others)
    at = PyBytes_AS_STRING(first)
    for line in lines:
        if pseudo == 0:  # once: after that it is negative
            at = PyBytes_AS_STRING(second)
        size = PyBytes_GET_SIZE(line)
        at[0] = 10
        memcpy(at + 1, PyBytes_AS_STRING(line), size)
        at += size + 1
        pseudo -= size + 1
    return first, second


cdef object found(bytes packed, object name):
    cdef Py_ssize_t size
    cdef const char *wanted = PyUnicode_AsUTF8AndSize(name, &size)
    cdef const char *line = PyBytes_AS_STRING(packed)
    cdef const char *end = line + PyBytes_GET_SIZE(packed)
    cdef const char *value
    while line < end:
        line = <const char *>memchr(line, 10, end - line)
        if line == NULL or end - line < size + 2:
            return None
        line += 1
        if line[size] == 0 and memcmp(line, wanted, size) == 0:
            value = line + size + 1
            line = <const char *>memchr(value, 10, end - value)
            if line == NULL:
                line = end
            try:
                return PyUnicode_DecodeUTF8(value, line - value, NULL)
            except UnicodeDecodeError:
                return PyUnicode_DecodeLatin1(value, line - value, NULL)
    return None


def value_of(bytes packed not None, str name not None):
    return found(packed, name)


class PackedHeaders(Headers):
    __slots__ = ("_packed",)

    def __init__(self, packed):
        self._fields = None
        self._packed = packed

    def _parse(self):
        return fields.PackedHeaders(self._packed)._parse()

    def get(self, name):
        return found(self._packed, name)
