# cython: language_level=3, boundscheck=False, wraparound=False
# The compiled form of clean.py. Names of up to eight characters that are no secret's are remembered as the number
# that their bytes are, so that most are looked up without an object.

from cpython.unicode cimport PyUnicode_1BYTE_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND
from libc.stdint cimport uint64_t
from libc.string cimport memchr

from rover_plugin_mask.names cimport Names

cdef enum:
    PLACES = 256
    PLACE_BITS = 8


cdef inline bint ends(unsigned char c) noexcept:
    """Whether a name begins after it."""
    return c == c"&" or c == c"?" or c == c"/" or c == c";" or c == c"#" or c == c"="


cdef class Clean:
    def __cinit__(self, Names names):
        self._names = names
        for place in range(PLACES):
            self._known[place] = 0

    cpdef bint is_clean(self, str text) except -1:
        if PyUnicode_KIND(text) != 1:
            return self._is_clean_wide(text)
        cdef const unsigned char *text_begin = <const unsigned char *>PyUnicode_1BYTE_DATA(text)
        cdef Py_ssize_t size = PyUnicode_GET_LENGTH(text)
        cdef const unsigned char *end = text_begin + size
        cdef const unsigned char *name
        cdef const unsigned char *equals
        cdef uint64_t packed
        cdef int shift
        if memchr(text_begin, c"%", size) != NULL or memchr(text_begin, c"@", size) != NULL:
            return False
        equals = <const unsigned char *>memchr(text_begin, c"=", size)
        while equals != NULL:
            name, packed, shift = equals, 0, 0
            while name > text_begin and not ends(name[-1]):
                name -= 1
                if shift < 64:
                    packed |= <uint64_t>name[0] << shift
                    shift += 8
            if name < equals and not self._is_plain(text, name - text_begin, equals - text_begin, packed):
                return False
            equals += 1
            equals = <const unsigned char *>memchr(equals, c"=", end - equals)
        return True

    cdef bint _is_plain(self, str text, Py_ssize_t begin, Py_ssize_t end, uint64_t packed) except -1:
        """Whether the name there is no secret's."""
        cdef Py_ssize_t slot
        if begin == end:
            return True
        if end - begin > 8 or not packed >> 8 * (end - begin - 1):  # with a zero in front it would be another's
            return not self._names.is_secret(text[begin:end])
        slot = <Py_ssize_t>((packed * <uint64_t>0x9E3779B97F4A7C15) >> (64 - PLACE_BITS))
        if self._known[slot] == packed:
            return True
        if self._names.is_secret(text[begin:end]):
            return False
        self._known[slot] = packed
        return True

    cdef bint _is_clean_wide(self, str text) except -1:
        return "%" not in text and "@" not in text and "=" not in text
