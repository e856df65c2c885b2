# Types for the compiled form of values.py.


cdef class Headers:
    cdef public tuple _fields

    cpdef get(self, name)
