# Types for the compiled form of heads.py.

cimport cython

from rover_plugin_http1._ordinary cimport ordinary_request, ordinary_response
from rover_plugin_http1.content cimport ContentReader
from rover_plugin_http1.head cimport RequestHead, ResponseHead


cdef class MessageReader(ContentReader):
    cdef public RequestHead request
    cdef public ResponseHead response
    cdef public long long start
    cdef Py_ssize_t _size

    cpdef object read(self)
    cpdef object accept(self, object owner, object content, bint optional=*)
    cpdef forget(self)
    cdef _found(self, Py_ssize_t size)
    @cython.locals(offset="Py_ssize_t", size="Py_ssize_t", examined="Py_ssize_t",
                   end="Py_ssize_t", limit="Py_ssize_t", requests="bint", request=RequestHead,
                   response=ResponseHead)
    cdef object _read_head(self)
    cdef bint _judge(self, bytes head, bint requests) except -1
