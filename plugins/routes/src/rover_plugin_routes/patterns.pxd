# Types for the compiled form of patterns.py.

cimport cython


cdef class Level:
    cdef readonly dict literals
    cdef readonly dict partly
    cdef public Level anything
    cdef public str route
    cdef public str rest


cdef class Patterns:
    cdef Level _first

    cpdef str find(self, list segments, bint cut)
    @cython.locals(segment=str, literal=Level, partly=Level, before=str, after=str, found=str)
    cdef str _find(self, Level level, list segments, Py_ssize_t at, bint cut)
