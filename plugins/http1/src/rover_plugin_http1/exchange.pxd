# Types for the compiled form of exchange.py.

from rover.values.http cimport new_exchange, new_request


cdef class Request:
    cdef public object owner
    cdef public object head
    cdef public long long start
    cdef public object end
    cdef public object content
    cdef public bint ended
    cdef public bint complete
    cdef public bint continued
    cdef public bint paired
    cdef public bint last
    cdef public bint reported
    cdef public object response
    cdef public long long sequence
    cdef public bint follows
    cdef public bint assumed
    cdef public object over

    cpdef object value(self)
    cpdef object exchange(self, object outcome)
