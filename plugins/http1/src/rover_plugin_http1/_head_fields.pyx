# cython: language_level=3, boundscheck=False
# The compiled form of head_fields.py.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeLatin1, PyUnicode_DecodeUTF8
from libc.stdint cimport uint64_t
from libc.string cimport memchr

from rover.values.http cimport Headers


cdef HeadFields fields_of(bytes head, uint64_t marks):
    """What the class does, without a call of Python."""
    cdef HeadFields made = HeadFields.__new__(HeadFields)
    made._head = head
    made._marks = marks
    return made


cdef inline unsigned char lower(unsigned char c) noexcept nogil:
    return c + 32 if 65 <= c <= 90 else c


cdef inline bint blank(char c) noexcept nogil:
    return c == b" " or c == b"\t" or c == b"\r"


cdef str text(const char *raw, Py_ssize_t size):
    try:
        return PyUnicode_DecodeUTF8(raw, size, NULL)
    except UnicodeDecodeError:
        return PyUnicode_DecodeLatin1(raw, size, NULL)


cdef class HeadFields(Headers):
    def __init__(self, bytes head not None):
        self._head = head
        self._marks = ~<uint64_t>0

    cpdef get(self, name):
        cdef Py_ssize_t size, at
        cdef const char *wanted = PyUnicode_AsUTF8AndSize(name, &size)
        cdef const char *line = PyBytes_AS_STRING(self._head)
        cdef const char *end = line + PyBytes_GET_SIZE(self._head)
        cdef const char *value
        if not self._marks & mark(wanted[0], size):
            return None
        while True:
            line = <const char *>memchr(line, b"\n", end - line)
            if line == NULL or end - line < size + 2:
                return None
            line += 1
            if line[size] != b":":
                continue
            for at in range(size):
                if lower(line[at]) != <unsigned char>wanted[at]:
                    break
            else:
                value = line + size + 1
                end = <const char *>memchr(value, b"\n", end - value)
                if end == NULL:
                    return None
                while value < end and blank(value[0]):
                    value += 1
                while value < end and blank((end - 1)[0]):
                    end -= 1
                return text(value, end - value)

    def _parse(self):
        cdef bytes line, name, value
        found = []
        for line in self._head.split(b"\n")[1:-2]:
            name, _, value = line.partition(b":")
            name = name.lower()
            value = value.strip(b" \t\r")
            found.append((text(name, len(name)), text(value, len(value))))
        return found
