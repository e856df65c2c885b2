# Types for the compiled form of message_reader.py.

cimport cython

from rover_plugin_http1._ordinary cimport next_request, next_response, ordinary_request, ordinary_response
from rover.streams.buffer cimport StreamBuffer
from rover_plugin_http1.content cimport ContentReader
from rover_plugin_http1.head cimport RequestHead, ResponseHead

cdef Py_ssize_t SHORTEST


cdef class MessageReader(ContentReader):
    cdef public RequestHead request
    cdef public ResponseHead response
    cdef public long long start
    cdef Py_ssize_t _size

    cpdef object read(self)
    cdef object _go_on(self)
    @cython.locals(buffer=StreamBuffer, size="long long", here="long long")
    cpdef object accept(self, object owner, long long content, bint optional=*)
    cpdef forget(self)
    cdef _found(self, Py_ssize_t size)
    @cython.locals(request=RequestHead, response=ResponseHead)
    cdef object _read_head(self)
    @cython.locals(buffer=StreamBuffer, offset="Py_ssize_t", size="Py_ssize_t", examined="Py_ssize_t",
                   end="Py_ssize_t", limit="Py_ssize_t", requests="bint")
    cdef object _read_odd_head(self)
    @cython.locals(request=RequestHead, response=ResponseHead)
    cdef bint _read_whole(self, object data, Py_ssize_t start, Py_ssize_t end, bint requests) except -1
    cdef bint _judge(self, bytes head, bint requests) except -1
