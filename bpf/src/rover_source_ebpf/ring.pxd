# Types for the compiled form of ring.py.

cimport cython


cdef class Ring:
    cdef readonly object memory
    cdef object _consumer
    cdef object _producer
    cdef object _lengths
    cdef unsigned long long _mask
    cdef unsigned long long _consumed
    cdef unsigned long long _kept

    @cython.locals(records=list, mask="unsigned long long", produced="unsigned long long",
                   consumed="unsigned long long", last="unsigned long long", offset="unsigned long long",
                   length="unsigned long long", limit="long")
    cpdef list take(self, limit)
