# Types for the compiled form of exchange.py. A change to a class here raises `rover.abi.ABI`.

from rover.values.value cimport Value


cdef class Exchange(Value):
    cdef readonly object owner
    cdef readonly object start
    cdef readonly object end
    cdef readonly object name
    cdef readonly object attributes
    cdef readonly object outcome
    cdef readonly object content
    cdef readonly object assumed

    cpdef tuple arguments(self, object connection, tuple details)
