# Types for the compiled form of reporting.py.

cimport cython

from rover.contracts.in_place cimport InPlaceDecoder
from rover.values.http cimport new_response

from rover_plugin_http1.exchange cimport Request
from rover_plugin_http1.head cimport ResponseHead
from rover_plugin_http1.message_reader cimport MessageReader
from rover_plugin_http1.pairing cimport Pairing


cdef class Reporting(InPlaceDecoder):
    cdef MessageReader _requests
    cdef MessageReader _responses
    cdef Pairing _pairing
    cdef list _out
    cdef Request _asking
    cdef Request _answering
    cdef Request _tunnel
    cdef long long _headed
    cdef long long _now
    cdef long long _active

    cdef _begin(self)
    cdef _note_loss(self, MessageReader reader)
    @cython.locals(head=ResponseHead, end="long long")
    cdef object _response(self, MessageReader reader)
    cdef _report(self, Request request)
    @cython.locals(pairing=Pairing)
    cdef object _over(self, MessageReader reader)
    @cython.locals(request=Request)
    cdef list _abandon(self)
    @cython.locals(request=Request)
    cdef list _unfinished(self)
    cdef object _abort(self, Request request)
