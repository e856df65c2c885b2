# Types for the compiled form of buffer.py. Positions stay below 2**62 (rover.values.records.MAX_POSITION).

cimport cython

from rover.streams.ledger cimport Ledger
from rover.values.records cimport Detail

cdef long long PIECE_MEMORY
cdef long long DETAIL_MEMORY


cdef class StreamBuffer:
    cdef list _behind
    cdef Ledger _ledger
    cdef list _calls
    cdef bint _assigned
    cdef bint _incoming
    cdef long long _missed
    cdef long long _first
    cdef long long _first_end
    cdef readonly object direction
    cdef public object data
    cdef public Py_ssize_t offset
    cdef public long long gap
    cdef public long long gap_moved
    cdef public long long gap_records
    cdef public long long hidden
    cdef public long long hidden_moved
    cdef public long long hidden_records
    cdef public bint late
    cdef public long long position
    cdef public long long end
    cdef public long long size
    cdef public bint ended

    @cython.locals(here="long long", behind="long long", reserve="long long")
    cpdef long long memory(self) except -1
    @cython.locals(position="long long", size="long long", end="long long", captured="long long", calls=list)
    cpdef bint append(self, Detail detail, object payload) except -1
    cdef _grow(self, object payload)
    cdef _append_behind(self, object payload, long long sequence)
    cdef _lose(self, long long size, Detail detail)
    cdef _miss(self, long long size, long long moved, long long records)
    @cython.locals(here="long long", taken="long long", offset="long long")
    cpdef consume(self, object size, object owner=*)
    @cython.locals(left="long long", here="long long", taken="long long", asked="long long")
    cpdef object skip(self, object size, object owner=*)
    cpdef object hide(self, long long size)
    cpdef hide_call(self)
    @cython.locals(position="long long", calls=list)
    cdef _advance(self, long long size, object owner)
    @cython.locals(call=Detail)
    cdef _next_call(self)
    cpdef clear(self)
