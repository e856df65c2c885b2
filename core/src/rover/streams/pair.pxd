# Types for the compiled form of pair.py.

cimport cython

from rover.values.records cimport Detail

from rover.streams.buffer cimport StreamBuffer
from rover.streams.ledger cimport Ledger

cdef long long DETAIL_MEMORY


cdef class StreamPair:
    cdef readonly StreamBuffer ingress
    cdef readonly StreamBuffer egress
    cdef readonly Ledger ledger
    cdef readonly long long seen
    cdef long long _due
    cdef bint _joined
    cdef int _first

    @cython.locals(due="long long")
    cpdef long long count(self, long long sequence) except -1
    cpdef time(self, long long start, long long end)
    @cython.locals(buffer=StreamBuffer)
    cpdef StreamBuffer append(self, Detail detail, object payload)
    @cython.locals(buffer=StreamBuffer)
    cdef StreamBuffer lend(self, Detail detail, const char *memory, Py_ssize_t captured)
    @cython.locals(buffer=StreamBuffer, direction="long long")
    cdef StreamBuffer _place(self, Detail detail)
    cpdef StreamBuffer of(self, int direction)
    cpdef long long memory(self) except -1
    cpdef clear(self)
