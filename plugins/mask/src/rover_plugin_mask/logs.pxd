# Types for the compiled form of logs.py.

cimport cython

from rover.values.access_log cimport AccessLog, new_log
from rover.values.attributes cimport Attributes, Shape, attributes_of
from rover_plugin_mask.names cimport Names
from rover_plugin_mask.texts cimport Texts

cdef int NOTHING, TARGET, PATH, QUERY, TEXT, WHOLE


cdef class Masking:
    cdef Names _names
    cdef Texts _texts
    cdef object _attributes
    cdef dict _kinds
    cdef dict _places

    cpdef masked(self, AccessLog log)
    @cython.locals(shape=Shape, cells=tuple, places=tuple, place=tuple, made=list, at=Py_ssize_t, kind=int)
    cdef _of_cells(self, AccessLog log, Attributes attributes)
    cdef _value(self, int kind, value)
    cdef str _text(self, int kind, str text)
    cpdef int _kind(self, str name) except -1
    cdef int _judge(self, str name) except -1


cdef AccessLog changed(AccessLog log, attributes)
