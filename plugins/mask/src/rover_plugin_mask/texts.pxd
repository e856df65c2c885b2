# Types for the compiled form of texts.py.

cimport cython

from rover_plugin_mask.names cimport Names


cdef class Texts:
    cdef Names _names
    cdef object _paths
    cdef bint _has_paths
    cdef str _path
    cdef str _path_masked
    cdef str _query
    cdef str _query_masked

    cpdef str target(self, str target)
    @cython.locals(mark=Py_ssize_t, head=str, query=str, head_masked=str, query_masked=str)
    cpdef str text(self, str text)
    @cython.locals(masked=str, found=str)
    cpdef str query(self, str query)
    @cython.locals(masked=str, found=str)
    cpdef str path(self, str path)
    @cython.locals(start=Py_ssize_t, path=str, masked=str)
    cdef str _head(self, str head)
    @cython.locals(at=Py_ssize_t, equals=Py_ssize_t, begin=Py_ssize_t)
    cdef bint _is_clean(self, str query)
    @cython.locals(parts=list, masked=bint, part=str, before=str, name=str, equals=str, value=str, at=Py_ssize_t)
    cdef str _without_values(self, str text, bint in_query, int depth)
    cpdef bint _hides(self, str encoded, int depth)
