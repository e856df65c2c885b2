# Types for the compiled form of streams.py. Stream identifiers have 31 bits, memory is bounded.

cimport cython

from rover_plugin_http2._fields cimport status_of, value_of
from rover_plugin_http2.open_stream cimport Message, Stream

cdef int ABSENT
cdef Py_ssize_t STREAM_MEMORY
cdef Py_ssize_t MESSAGE_MEMORY


cdef class Streams:
    cdef public object client
    cdef public bint preface
    cdef public list opened
    cdef public list lost
    cdef public long long memory
    cdef public bint tight
    cdef object _split_after
    cdef readonly dict _open  # for tests
    cdef long long _last_request
    cdef long long _last_promise
    cdef long long _last_odd
    cdef list _unasked
    cdef long long _request_gaps
    cdef long long _request_hiding
    cdef long long _response_gaps
    cdef long long _response_hiding
    cdef bint _loose
    cdef list _goaways

    cpdef Stream get(self, object number)
    @cython.locals(way="Py_ssize_t")
    cpdef bint is_late(self, object direction) except -1
    cpdef found_client(self, object direction)
    @cython.locals(message=Message)
    cdef Message _message(self, Stream stream, object direction)
    @cython.locals(stream=Stream)
    cdef Stream _add(self, object number, object now)
    cdef Stream _add_unasked(self, object number, object now)
    @cython.locals(stream=Stream)
    cdef _asked(self, long long number)
    cdef _charge(self, Stream stream, long long size)
    cdef _remove(self, Stream stream)
    cpdef bint hide(self, object direction, bint content) except -1
    @cython.locals(stream=Stream, request=Message)
    cpdef bint opened_nothing(self, long long number) except -1
    cpdef bint is_new(self, object direction, long long number) except -1
    @cython.locals(highest="long long")
    cpdef bint may_exist(self, long long number, long long missing) except -1
    @cython.locals(request=Message, response=Message)
    cdef bint _may_be_over(self, Stream stream) except -1
    @cython.locals(stream=Stream, answered=Stream, message=Message, status=int)
    cpdef Stream headers(
        self, object direction, object number, bytes pseudo, bytes fields, long long size, long long start, object now, bint end
    )
    cdef _check_open(self, Message message)
    @cython.locals(stream=Stream)
    cdef Stream _requested(self, long long number, object now)
    @cython.locals(stream=Stream, opened_before="bint")
    cdef Stream _answered(self, long long number, object now)
    @cython.locals(stream=Stream, message=Message)
    cdef Stream _trailers(
        self, object direction, object number, bytes fields, long long size, object now, bint end
    )
    @cython.locals(stream=Stream)
    cpdef Stream promised(
        self, object direction, long long number, bytes pseudo, bytes fields, long long size, long long start, object now
    )
    @cython.locals(opened="bint")
    cpdef check_opened(self, object direction, long long number, object reason, object found)
    cdef bint _server_is_late(self) except -1
    @cython.locals(stream=Stream, message=Message)
    cpdef Stream data_begins(self, object direction, object number)
    @cython.locals(message=Message)
    cpdef data(self, object direction, Stream stream, object size, object now)
    cpdef object end(self, object direction, Stream stream)
    @cython.locals(request=Message, response=Message)
    cpdef object finished(self, Stream stream)
    @cython.locals(stream=Stream, message=Message)
    cpdef object reset(self, object direction, object number, object error, object now)
    @cython.locals(stream=Stream)
    cdef list _cut(self, list streams, object error, object now)
    cdef object _finish(self, Stream stream, object outcome, object error, object end)
    cdef _count_missing(self, Stream stream)


cdef object _opposite(object direction)
cdef bint _well_formed(bytes pseudo, method) except -1
