# Types for the compiled form of delivery.py.

cimport cython

from rover.pipeline.filters cimport Filters
from rover.plugins._guard cimport checked_log
from rover.values.access_log cimport AccessLog
from rover.values.http cimport HttpExchange, HttpStream


cdef class Delivery:
    cdef object _manager
    cdef object _hook
    cdef tuple _outlets
    cdef tuple _kernel_outlets
    cdef readonly bint takes_kernel_logs
    cdef Filters _filters
    cdef object _headers
    cdef dict _hooks

    @cython.locals(outlets=tuple)
    cpdef put(self, AccessLog log)
    @cython.locals(log=AccessLog, http=HttpExchange, arguments=tuple)
    cpdef object log_of(self, object connection, object exchange, tuple details)
    @cython.locals(implementation=tuple)
    cdef object _ask(self, list implementations, tuple arguments)
    cdef AccessLog _with_headers(self, AccessLog log, object exchange)
    cdef object _own_log(self, object connection, object exchange)
