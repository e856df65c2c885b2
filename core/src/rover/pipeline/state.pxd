# Types for the compiled form of state.py.

from rover.details cimport Ledger


cdef class ConnectionState:
    cdef public list attempts
    cdef public tuple buffers
    cdef public object connection
    cdef public object decoder
    cdef public list held
    cdef public bint late
    cdef public Ledger ledger
    cdef public bint plain
    cdef public long long seen
    cdef public long long sequence
    cdef public object spec
