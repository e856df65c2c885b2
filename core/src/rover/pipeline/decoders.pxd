# Types for the compiled form of decoders.py.

cdef tuple NONE


cdef class Decoders:
    cdef object _manager
    cdef object _settings
    cdef dict _newest

    cpdef tuple make(self, object spec, object connection, object upgrade)
