# What other modules may call of _fields.pyx.

from rover.values.http cimport Headers


cdef class PackedHeaders(Headers):
    cdef bytes _packed

    cpdef get(self, name)


cpdef PackedHeaders packed_headers(bytes packed)
cpdef object value_of(bytes packed, str name)
cpdef int status_of(bytes pseudo) except? -3
