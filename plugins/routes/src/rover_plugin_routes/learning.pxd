# Types for the compiled form of learning.py.

cimport cython

from rover_plugin_routes._shape cimport is_value


cdef class Level:
    cdef readonly dict words
    cdef public Level value
    cdef public bint is_end
    cdef public tuple route
    cdef public bint ends
    cdef public bint branches


cdef class Learned:
    cdef Py_ssize_t _words
    cdef Py_ssize_t _most
    cdef Level _first
    cdef public Py_ssize_t routes
    cdef readonly Py_ssize_t levels

    @cython.locals(level=Level, following=Level, left=Py_ssize_t)
    cpdef tuple find(self, list segments, bint cut, bint teaches)
    @cython.locals(level=Level, following=Level, said=list, learned=bint)
    cdef tuple _route(self, list segments)
    cdef Level _new_level(self)
