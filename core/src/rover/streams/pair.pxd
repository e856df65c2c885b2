# Types for the compiled form of pair.py.

cimport cython

from rover.values.records cimport Detail

from rover.streams.buffer cimport StreamBuffer
from rover.streams.ledger cimport Ledger

cdef long long DETAIL_MEMORY


cdef class StreamPair:
    cdef readonly tuple buffers
    cdef readonly Ledger ledger
    cdef readonly long long seen
    cdef long long _due
    cdef bint _joined
    cdef int _first

    @cython.locals(due="long long")
    cpdef long long count(self, long long sequence) except -1
    cpdef time(self, long long start, long long end)
    @cython.locals(buffer=StreamBuffer)
    cpdef append(self, int direction, long long size, Detail detail, object payload)
    @cython.locals(ingress=StreamBuffer, egress=StreamBuffer)
    cpdef long long memory(self) except -1
    @cython.locals(buffer=StreamBuffer)
    cpdef clear(self)
