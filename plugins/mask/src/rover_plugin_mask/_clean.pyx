# cython: language_level=3, boundscheck=False, wraparound=False
# The compiled form of clean.py: one loop over the characters. Names of up to eight of them that are no
# secret's are remembered as the number that their bytes are, so that most are looked up without an object.

from cpython.unicode cimport PyUnicode_1BYTE_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND
from libc.stdint cimport uint64_t

from rover_plugin_mask.names cimport Names

cdef enum:
    PLACES = 256
    PLACE_BITS = 8


cdef class Clean:
    def __cinit__(self, Names names):
        self._names = names
        for place in range(PLACES):
            self._known[place] = 0

    cpdef bint is_clean(self, str text) except -1:
        if PyUnicode_KIND(text) != 1:
            return self._is_clean_wide(text)
        cdef const unsigned char *at = <const unsigned char *>PyUnicode_1BYTE_DATA(text)
        cdef Py_ssize_t size = PyUnicode_GET_LENGTH(text), place, begin = 0
        cdef unsigned char c
        cdef uint64_t packed = 0  # the name so far: its bytes, none of which is 0
        cdef bint in_value = False
        for place in range(size):
            c = at[place]
            # All that means something is below `@`, and above it only letters and the like are.
            if c > 0x40 or c == 0:
                packed = packed << 8 | c
            elif c == c"%" or c == c"@":
                return False
            elif c == c"&" or c == c"/" or c == c"?" or c == c";" or c == c"#":
                packed, begin, in_value = 0, place + 1, False
            elif c == c"=" and not in_value:
                in_value = True
                if not self._is_plain(text, begin, place, packed):
                    return False
            else:
                packed = packed << 8 | c
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
