# Types for the compiled form of head.py.


cdef class RequestHead:
    cdef readonly str method
    cdef readonly str target
    cdef readonly str version
    cdef readonly object headers
    cdef readonly long long size
    cdef readonly long long content
    cdef readonly bint expects
    cdef readonly bint special


cdef class ResponseHead:
    cdef readonly long long status
    cdef readonly str version
    cdef readonly object headers
    cdef readonly long long size
    cdef readonly long long content
