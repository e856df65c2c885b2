# Types for the compiled form of buffer.py. Positions stay below 2**62 (rover.values.records.MAX_NUMBER).
# What each call touches lies together, at the front.

cimport cython

from rover.streams.ledger cimport Ledger
from rover.values.records cimport Detail

cdef long long PIECE_MEMORY
cdef long long DETAIL_MEMORY


cdef class StreamBuffer:
    cdef readonly long long position
    cdef readonly long long end
    cdef readonly long long size
    cdef readonly Py_ssize_t offset
    cdef readonly Py_ssize_t here
    cdef const char *loan
    cdef readonly object data
    cdef Detail _call
    cdef readonly long long since
    cdef readonly long long sequence
    cdef readonly long long gap
    cdef list _later
    cdef Ledger _ledger
    cdef readonly bint lent
    cdef bint _assigned
    cdef bint _incoming
    cdef public bint ended
    cdef public bint late
    cdef long long _missed
    cdef list _behind
    cdef readonly long long gap_moved
    cdef readonly long long gap_records
    cdef readonly long long hidden
    cdef readonly long long hidden_moved
    cdef readonly long long hidden_records
    cdef readonly object direction

    @cython.locals(here="long long", behind="long long", reserve="long long", calls="long long", pieces="long long")
    cpdef long long memory(self) except -1
    @cython.locals(captured="long long")
    cpdef bint append(self, Detail detail, object payload) except -1
    cdef bint lend(self, Detail detail, const char *memory, Py_ssize_t captured) except -1
    cpdef keep(self)
    cdef _hold(self, object payload, Py_ssize_t captured, long long sequence)
    @cython.locals(position="long long", size="long long", end="long long")
    cdef bint _add(self, Detail detail) except -1
    cdef _begin_call(self, Detail call)
    cdef _grow(self, object payload)
    @cython.locals(behind=list)
    cdef _append_behind(self, object payload, long long sequence)
    cdef _lose(self, long long size, Detail detail)
    cdef _miss(self, long long size, long long moved, long long records)
    cpdef consume(self, object size, object owner=*)
    cpdef object skip(self, object size, object owner=*)
    @cython.locals(left="long long", here="long long", taken="long long")
    cpdef long long pass_over(self, long long size, object owner) except -1
    cdef _go_on(self)
    cpdef object hide(self, long long size)
    @cython.locals(call=Detail)
    cpdef hide_call(self)
    @cython.locals(position="long long", call=Detail)
    cdef _advance(self, long long size, object owner)
    @cython.locals(later=list)
    cdef _next_call(self)
    cpdef clear(self)
