# Types for the compiled form of delivery.py.

cimport cython

from rover.values.access_log cimport AccessLog


cdef class Delivery:
    cdef object _manager
    cdef object _hook
    cdef tuple _outlets
    cdef tuple _kernel_outlets
    cdef readonly bint takes_kernel_logs
    cdef object _filters
    cdef dict _hooks

    cpdef put(self, AccessLog log)
    @cython.locals(log=AccessLog)
    cpdef object log_of(self, object connection, object exchange, tuple details)
    cdef object _ask(self, list implementations, tuple arguments)
    cdef object _own_log(self, object connection, object exchange)
