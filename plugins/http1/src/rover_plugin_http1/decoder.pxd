# Types for the compiled form of decoder.py.

cimport cython

from rover.streams.buffer cimport StreamBuffer
from rover.values.http cimport new_response

from rover_plugin_http1.exchange cimport Request
from rover_plugin_http1.head cimport RequestHead, ResponseHead
from rover_plugin_http1.pairing cimport Pairing
from rover_plugin_http1.heads cimport MessageReader

cdef Py_ssize_t MAX_WAITING
cdef Py_ssize_t MAX_WAITING_SIZE
cdef Py_ssize_t REQUEST_SIZE
cdef long long HOLD


cdef class Http1Decoder:
    cdef public object role
    cdef Py_ssize_t _max_head
    cdef long long _timeout
    cdef list _readers
    cdef MessageReader _requests
    cdef MessageReader _responses
    cdef Pairing _pairing
    cdef list _out
    cdef Request _asking
    cdef Request _answering
    cdef Request _tunnel
    cdef object _owners
    cdef long long _headed
    cdef long long _explained
    cdef long long _now
    cdef long long _active

    @cython.locals(reader=MessageReader, other=MessageReader, here="Py_ssize_t")
    cpdef object decode(self, object direction, StreamBuffer buffer, object now)
    @cython.locals(reader=MessageReader, other=MessageReader)
    cdef MessageReader _add(self, object direction, StreamBuffer buffer)
    cdef _assign(self, MessageReader reader)
    @cython.locals(other=MessageReader)
    cdef _learn(self, MessageReader reader)
    @cython.locals(goes_on="bint", before="long long")
    cdef _run(self, MessageReader reader)
    cdef bint _is_early(self, MessageReader reader) except -1
    cdef _pause(self, MessageReader reader)
    @cython.locals(pairing=Pairing, responses=MessageReader, request=Request, waiting="Py_ssize_t")
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
    @cython.locals(optional="bint")
    cdef _accept_response(self, MessageReader reader, Request request)
    cdef bint _may_overtake(self, MessageReader reader) except -1
    cdef bint _release(self, MessageReader responses, MessageReader requests) except -1
    @cython.locals(request=Request)
    cdef _end_response(self, MessageReader reader, object event)
    cdef _switch(self, MessageReader reader, ResponseHead head, Request request)
    cdef _note_loss(self, MessageReader reader)
    cdef object _response(self, MessageReader reader)
    cdef _report(self, Request request)
    @cython.locals(pairing=Pairing)
    cdef object _over(self, MessageReader reader)
    @cython.locals(request=Request)
    cdef list _abandon(self)
    @cython.locals(request=Request)
    cdef list _unfinished(self)
    cdef object _abort(self, Request request)
