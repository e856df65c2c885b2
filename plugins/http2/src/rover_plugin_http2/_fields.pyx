# cython: language_level=3, boundscheck=False
# The compiled form of fields.py.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeLatin1, PyUnicode_DecodeUTF8
from libc.string cimport memchr, memcmp

from rover.values.http cimport Headers

from rover_plugin_http2 import fields

cdef enum:
    ABSENT = -1
    INVALID = -2

assert (fields.ABSENT, fields.INVALID) == (ABSENT, INVALID)


cdef const char *found(bytes packed, const char *name, Py_ssize_t size, Py_ssize_t *length) noexcept:
    """Where the first value of a name of `size` bytes is, and its length; NULL when it is absent."""
    cdef const char *line = PyBytes_AS_STRING(packed)
    cdef const char *end = line + PyBytes_GET_SIZE(packed)
    cdef const char *value
    while line < end:
        line = <const char *>memchr(line, 10, end - line)
        if line == NULL or end - line < size + 2:
            return NULL
        line += 1
        if line[size] == 0 and memcmp(line, name, size) == 0:
            value = line + size + 1
            line = <const char *>memchr(value, 10, end - value)
            length[0] = (end if line == NULL else line) - value
            return value
    return NULL


cpdef object value_of(bytes packed, str name):
    cdef Py_ssize_t size, length = 0
    cdef const char *wanted = PyUnicode_AsUTF8AndSize(name, &size)
    cdef const char *value = found(packed, wanted, size, &length)
    if value == NULL:
        return None
    try:
        return PyUnicode_DecodeUTF8(value, length, NULL)
    except UnicodeDecodeError:
        return PyUnicode_DecodeLatin1(value, length, NULL)


cpdef int status_of(bytes pseudo) except? -3:
    cdef Py_ssize_t length = 0
    cdef const char *value = found(pseudo, b":status", 7, &length)
    if value == NULL:
        return ABSENT
    if length != 3 or not (48 <= value[0] <= 57 and 48 <= value[1] <= 57 and 48 <= value[2] <= 57):
        return INVALID
    return 100 * (value[0] - 48) + 10 * (value[1] - 48) + value[2] - 48


cpdef PackedHeaders packed_headers(bytes packed):
    cdef PackedHeaders made = PackedHeaders.__new__(PackedHeaders)
    made._packed = packed
    return made


cdef class PackedHeaders(Headers):
    def __init__(self, bytes packed not None):
        self._packed = packed

    cpdef get(self, name):
        return value_of(self._packed, name)

    def _parse(self):
        return fields.PackedHeaders(self._packed)._parse()
