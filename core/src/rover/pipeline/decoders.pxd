# Types for the compiled form of decoders.py.

cimport cython


cdef class Decoders:
    cdef object _manager
    cdef object _settings
    cdef dict _made

    @cython.locals(made=tuple, weighed="bint", skipping="bint")
    cpdef tuple make(self, object spec, object connection, object upgrade)
