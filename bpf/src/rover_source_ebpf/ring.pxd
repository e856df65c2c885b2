# Types for the compiled form of ring.py.

cimport cython


cdef class Ring:
    cdef readonly object memory
    cdef object _consumer
    cdef object _producer
    cdef object _lengths
    cdef object _window_at
    cdef unsigned long long _base
    cdef unsigned long long _window
    cdef unsigned long long _mask
    cdef unsigned long long _consumed
    cdef unsigned long long _kept

    cdef _move(self)

    @cython.locals(records=list, base="unsigned long long", window="unsigned long long",
                   produced="unsigned long long", consumed="unsigned long long", last="unsigned long long",
                   offset="unsigned long long", end="unsigned long long", length="unsigned long long",
                   busy="unsigned long long", discard="unsigned long long", header="unsigned long long",
                   limit="long")
    cpdef list take(self, limit)
