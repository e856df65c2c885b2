# Types for the compiled form of recognition.py.

from rover.streams.buffer cimport StreamBuffer


cdef class Recogniser:
    cdef object _manager
    cdef list _specs
    cdef dict _ports
    cdef dict _upgrades
    cdef frozenset _own
    cdef Py_ssize_t _most

    cpdef object pinned(self, object connection)
    cpdef tuple sniff(self, StreamBuffer buffer, object connection)
