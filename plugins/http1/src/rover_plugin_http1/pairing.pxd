# Types for the compiled form of pairing.py.

from rover_plugin_http1.exchange cimport Request


cdef class Pairing:
    cdef public list waiting
    cdef public Py_ssize_t size
    cdef public bint sure
    cdef Py_ssize_t _turns
    cdef bint _probing
    cdef Py_ssize_t _answers

    cpdef bint begin(self, Request request, bint quiet) except -1
    cpdef bint answerable(self, object start)
    cpdef object answer(self)
    cpdef answered(self, bint paired)
