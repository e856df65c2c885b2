# What other modules may call of _header_blocks.pyx.


cdef class HeaderBlocks:
    cdef list _entries  # the oldest first; those evicted are None, until they are half of all
    cdef Py_ssize_t _evicted
    cdef Py_ssize_t _maximum
    cdef Py_ssize_t _size
    cdef Py_ssize_t _since  # entries added since the older ones are in doubt; -1 when none are
    cdef long long _limit
    cdef readonly Py_ssize_t memory

    cpdef doubt(self)
    cpdef settle(self, bint nothing_added)
    cpdef list decode(self, bytes block, object limit)
    cdef bytes _entry(self, Py_ssize_t index)
    cdef int _add(self, bytes line) except -1
    cdef int _resize(self, long long size) except -1
    cdef int _evict(self) except -1
    cdef int _drop(self) except -1
    cdef int _tidy(self) except -1


cpdef HeaderBlocks new_blocks()
