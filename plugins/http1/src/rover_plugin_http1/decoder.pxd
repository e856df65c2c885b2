# Types for the compiled form of decoder.py.

cimport cython

from rover.streams.buffer cimport StreamBuffer

from rover_plugin_http1.exchange cimport Request, begun
from rover_plugin_http1.framing cimport request_content, response_content
from rover_plugin_http1.head cimport RequestHead, ResponseHead
from rover_plugin_http1.pairing cimport Pairing
from rover_plugin_http1.message_reader cimport MessageReader
from rover_plugin_http1.reporting cimport Reporting

cdef Py_ssize_t MAX_WAITING
cdef Py_ssize_t MAX_WAITING_SIZE
cdef Py_ssize_t REQUEST_SIZE
cdef long long HOLD


cdef class Http1Decoder(Reporting):
    cdef Py_ssize_t _max_head
    cdef long long _timeout
    cdef MessageReader _ingress
    cdef MessageReader _egress
    cdef object _owners
    cdef long long _explained

    @cython.locals(reader=MessageReader, other=MessageReader, egress="bint")
    cpdef object decode(self, object direction, StreamBuffer buffer, long long now)
    cpdef long long kept(self) except -1
    cdef bint reads_in_place(self)
    cdef MessageReader _reader(self, bint egress)
    @cython.locals(reader=MessageReader, other=MessageReader, egress="bint")
    cdef MessageReader _add(self, object direction, StreamBuffer buffer)
    cdef _assign(self, MessageReader reader)
    @cython.locals(other=MessageReader)
    cdef _learn(self, MessageReader reader)
    @cython.locals(goes_on="bint", before="long long")
    cdef _run(self, MessageReader reader)
    cdef bint _is_early(self, MessageReader reader) except -1
    cdef _pause(self, MessageReader reader)
    @cython.locals(head=RequestHead, pairing=Pairing, responses=MessageReader, request=Request,
                   waiting="Py_ssize_t", content="long long")
    cdef bint _begin_request(self, MessageReader reader) except -1
    @cython.locals(request=Request)
    cdef _end_request(self, MessageReader reader, object event)
    cdef _finish_request(self, Request request, object content)
    @cython.locals(pairing=Pairing, start="long long", believed="bint")
    cdef bint _begin_response(self, MessageReader reader) except -1
    @cython.locals(start="long long", waiting=list, request=Request)
    cdef long long _begun(self, MessageReader reader) except -1
    cdef bint _may_hide_requests(self) except -1
    cdef bint _may_be_early(self, MessageReader reader) except -1
    @cython.locals(head=ResponseHead, status="long long", optional="bint", content="long long")
    cdef _accept_response(self, MessageReader reader, Request request)
    cdef bint _may_overtake(self, MessageReader reader) except -1
    cdef bint _release(self, MessageReader responses, MessageReader requests) except -1
    @cython.locals(request=Request, head=ResponseHead)
    cdef _end_response(self, MessageReader reader, object event)
    cdef _switch(self, MessageReader reader, ResponseHead head, Request request)
