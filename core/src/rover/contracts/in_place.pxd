# Types for the compiled form of in_place.py. A change to the class raises `rover.abi.ABI`.

from rover.streams.buffer cimport StreamBuffer


cdef class InPlaceDecoder:
    cdef public object role

    cpdef object decode(self, object direction, StreamBuffer buffer, long long now)
    cpdef long long kept(self) except -1
    cdef bint reads_in_place(self)
