# What other modules may call of _clean.pyx.

from libc.stdint cimport uint64_t

from rover_plugin_mask.names cimport Names


cdef class Clean:
    cdef Names _names
    cdef uint64_t _known[256]

    cpdef bint is_clean(self, str text) except -1
    cdef bint _is_plain(self, str text, Py_ssize_t begin, Py_ssize_t end, uint64_t packed) except -1
    cdef bint _is_clean_wide(self, str text) except -1
