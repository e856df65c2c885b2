# Types for the compiled form of search.py.

from rover.streams.buffer cimport StreamBuffer


cdef class Search:
    cdef public StreamBuffer buffer
    cdef public object kind
    cdef public object state
    cdef public bint fresh
    cdef public long long skipped
    cdef public long long moved
    cdef public long long reached
    cdef public long long lost
    cdef public long long records
    cdef public bint boundary
    cdef Py_ssize_t _examined
    cdef bint _line_seen
    cdef bint _missing
    cdef bint _ragged
    cdef bint _searched
    cdef long long _scanned
    cdef bint _surplus
    cdef Py_ssize_t _max_head

    cdef _attach(self, StreamBuffer buffer, object kind, Py_ssize_t max_head)
    cdef object _search(self)
