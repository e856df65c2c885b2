# Types for the compiled form of value.py.


cdef class Value:
    pass
