# Types for the compiled form of exchange.py.

cimport cython

from rover.values.http cimport new_exchange, new_request

from rover_plugin_http1.head cimport RequestHead


cdef class Request:
    cdef public object owner
    cdef public RequestHead head
    cdef public long long start
    cdef public long long end
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
    cdef public long long over

    cpdef object value(self)
    cpdef object exchange(self, object outcome)


@cython.locals(made=Request)
cpdef Request begun(object owner, RequestHead head, long long start, long long sequence, bint follows)
