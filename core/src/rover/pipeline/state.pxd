# Types for the compiled form of state.py.

from rover.streams.buffer cimport StreamBuffer
from rover.streams.ledger cimport Ledger


cdef class ConnectionState:
    cdef public tuple buffers
    cdef public object connection
    cdef public object decoder
    cdef public long claims
    cdef public bint joined
    cdef public int first
    cdef public long long header_end
    cdef public list held
    cdef public long long held_memory
    cdef public long long kept
    cdef public long long memory
    cdef public bint weighed
    cdef public bint listed
    cdef public bint late
    cdef public Ledger ledger
    cdef public bint plain
    cdef public long long seen
    cdef public long long sequence
    cdef public object spec
