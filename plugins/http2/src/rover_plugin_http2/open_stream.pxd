# Types for the compiled form of open_stream.py.

cimport cython

from rover.values.http cimport new_request, new_response, new_stream

from rover_plugin_http2._fields cimport packed_headers, status_of, value_of


cdef class Message:
    cdef public bint known
    cdef public bytes pseudo
    cdef public bytes fields
    cdef public bytes trailers
    cdef public long long start
    cdef public long long end
    cdef public long long header_size
    cdef public object body_size
    cdef public bint ended
    cdef public long long gaps

    cpdef begin(self, bytes pseudo, bytes fields, long long size, long long start, long long now)
    cpdef miss(self, long long hiding)
    cpdef restart(self)


cdef class Stream:
    cdef public object number
    cdef public object since
    cdef public Message request
    cdef public Message response
    cdef public object error
    cdef public long long memory

    @cython.locals(sent=Message, answer=Message, pseudo=bytes)
    cpdef object value(self, object outcome, object error, object end)
