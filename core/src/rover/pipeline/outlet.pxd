# Types for the compiled form of outlet.py.

from rover.values.access_log cimport AccessLog


cdef class Outlet:
    cdef readonly object name
    cdef readonly object sink
    cdef readonly object kernel_logs
    cdef public bint closed
    cdef public object failure
    cdef readonly bint reader_left
    cdef readonly object lost
    cdef readonly object counters
    cdef object _failed
    cdef object _attend
    cdef object _prepare
    cdef Py_ssize_t _taken
    cdef Py_ssize_t _limit
    cdef Py_ssize_t _many
    cdef bint _lossless
    cdef object _queue
    cdef list _in_hand
    cdef bint _waiting
    cdef object _bell
    cdef object _room
    cdef bint _stopping
    cdef bint _given_up
    cdef object _account
    cdef bint _reopen
    cdef double _reported
    cdef object _thread

    cpdef put(self, AccessLog log)
    cpdef wake(self)
    cdef list _take(self)
