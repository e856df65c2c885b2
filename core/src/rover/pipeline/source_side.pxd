# Types for the compiled form of source_side.py.


cdef class SourceSide:
    cdef object _source
    cdef object _manager
    cdef object _describing
    cdef object _skipping
    cdef object _listening

    cpdef set_upload(self, object connection, object limit)
