# Types for the compiled form of opening.py.

from rover.pipeline.recognition cimport Recogniser
from rover.streams.buffer cimport StreamBuffer

cdef int FIRST_V1
cdef int SECOND_V1
cdef int FIRST_V2


cdef class Opening:
    cdef readonly bint late
    cdef public object pinned
    cdef readonly object header
    cdef readonly bint given_up
    cdef readonly bint tls
    cdef long long _header_end

    cpdef object recognise(
        self, Recogniser recogniser, object connection, StreamBuffer buffer, StreamBuffer other, bint requests)
    cdef _pass_gap(self, StreamBuffer buffer)
    cdef bint _passed_header(self, StreamBuffer buffer) except -1
