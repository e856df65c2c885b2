# Types for the compiled form of names.py.


cdef class Names:
    cdef object _more
    cdef object _shown
    cdef dict _known

    cpdef bint is_secret(self, str name) except -1
    cpdef bint _judge(self, str sent) except -1
