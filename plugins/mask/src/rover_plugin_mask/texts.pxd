# Types for the compiled form of texts.py.

cimport cython

from rover_plugin_mask._clean cimport Clean as Compiled
from rover_plugin_mask.names cimport Names


cdef class Texts:
    cdef Compiled _clean
    cdef Names _names
    cdef object _paths
    cdef bint _has_paths

    cpdef str target(self, str target)
    cpdef str text(self, str text)
    cpdef str query(self, str query)
    cpdef str path(self, str path)
    cdef str _head(self, str head)
    @cython.locals(parts=list, masked=bint, part=str, before=str, name=str, equals=str, value=str, at=Py_ssize_t)
    cdef str _without_values(self, str text, bint in_query, int depth)
    cpdef bint _hides(self, str encoded, int depth) except -1
