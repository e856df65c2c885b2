# Types for the compiled form of decoder.py. A frame's length has 24 bits, a stream identifier 31.

cimport cython

from rover.streams.buffer cimport StreamBuffer

from rover_plugin_http2.side cimport Side
from rover_plugin_http2.open_stream cimport Stream
from rover_plugin_http2.streams cimport Streams

cdef int DATA
cdef int HEADERS
cdef int SETTINGS
cdef int RST_STREAM
cdef int GOAWAY
cdef int PUSH_PROMISE
cdef int CONTINUATION
cdef int PADDED
cdef int PRIORITISED
cdef int END_HEADERS
cdef int END_STREAM
cdef Py_ssize_t HEADER_SIZE
cdef Py_ssize_t MAX_BLOCK
cdef Py_ssize_t SMALLEST_ADDING


cdef class Http2Decoder:
    cdef public object role
    cdef readonly Streams _streams  # for tests
    cdef long long _memory
    cdef tuple _sides
    cdef object _ready
    cdef object _broke

    @cython.locals(side=Side)
    cpdef object decode(self, object direction, StreamBuffer buffer, object now)
    @cython.locals(offset="Py_ssize_t", at="Py_ssize_t", header=bytes, length="long long", kind="int", flags="int",
                   reserved="long long", stream="long long", word="long long")
    cdef object _decode(self, Side side, StreamBuffer buffer, object now)
    @cython.locals(size="long long", told="bint")
    cdef bint _pass_gap(self, Side side, StreamBuffer buffer) except -1
    cdef _check_after_gap(self, Side side, object stream, long long length)
    cdef bint _begin(self, Side side, StreamBuffer buffer) except -1
    cdef _found_client(self, object direction)
    cdef bint _knows_limits(self, Side side) except -1
    cdef _check_maximum(self, Side side, long long length)
    @cython.locals(ingress=Side, egress=Side)
    cdef long long _taken(self) except -1
    @cython.locals(streams=Streams, taken="long long")
    cdef _check_memory(self, object now)
    cdef object _owner(self, object stream)
    @cython.locals(size="long long", content="long long", padding="long long", hidden="bint", stream=Stream,
                   streams=Streams)
    cdef object _data(self, Side side, StreamBuffer buffer, object now, int flags, object number, long long length)
    cdef _pass_over(self, Side side, object stream, long long length)
    @cython.locals(stream=Stream, passed="long long", content="long long")
    cdef bint _pass(self, Side side, StreamBuffer buffer, object now) except -1
    @cython.locals(stream=Stream)
    cdef object _end_data(self, Side side)
    @cython.locals(start="Py_ssize_t", end="Py_ssize_t", size="Py_ssize_t", first="Py_ssize_t",
                   pseudo=bytes, fields=bytes, streams=Streams, stream=Stream, ends="bint")
    cdef object _header_block(
        self, Side side, StreamBuffer buffer, object now, int kind, int flags, object number, long long length
    )
    cdef _settle(self, Side side, int kind, object number)
    cdef object _next_ready(self)
    @cython.locals(offset="Py_ssize_t", here="Py_ssize_t", walked="Py_ssize_t", end="Py_ssize_t")
    cdef Py_ssize_t _walk(
        self, Side side, StreamBuffer buffer, int flags, object number, long long length
    ) except -1
    @cython.locals(here="long long")
    cdef object _other(
        self, Side side, StreamBuffer buffer, object now, int kind, int flags, object stream, long long length
    )
    cdef object _payload(self, StreamBuffer buffer, Py_ssize_t size)
    cdef _pass_unread(self, Side side, StreamBuffer buffer, long long length, object owner=*)
    @cython.locals(other=Side)
    cdef _settings(self, object direction, bytes payload)
    cdef _upgraded(self, object request, object answered)
