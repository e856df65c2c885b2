# What other modules may call of _header_blocks.pyx.


cdef struct Packed:
    char *at
    Py_ssize_t size
    Py_ssize_t room
    char *heap  # where that is, NULL while it is on the stack
    Py_ssize_t pseudo  # bytes of the pseudo-header fields, which come first
    Py_ssize_t crumbs  # lines named cookie


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
    cpdef tuple fields(self, object data, Py_ssize_t start, Py_ssize_t end, object limit)
    cdef int _read(self, const unsigned char *at, const unsigned char *end, Packed *out) except -1
    cdef bytes _entry(self, Py_ssize_t index)
    cdef int _add(self, bytes line) except -1
    cdef int _resize(self, long long size) except -1
    cdef int _evict(self) except -1
    cdef int _drop(self) except -1
    cdef int _tidy(self) except -1


cpdef HeaderBlocks new_blocks()
