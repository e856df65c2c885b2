# Types for the compiled form of logs.py.

cimport cython

from rover.values.access_log cimport AccessLog
from rover.values.attributes cimport Attributes, Shape, attributes_of


cdef class Masking:
    cdef object _names
    cdef object _texts
    cdef object _attributes
    cdef dict _masks
    cdef dict _places

    cpdef masked(self, AccessLog log)
    @cython.locals(shape=Shape, cells=tuple, places=tuple, place=tuple, changed=list, at=Py_ssize_t)
    cdef _of_cells(self, AccessLog log, Attributes attributes)
    cpdef _mask_of(self, str name)


cpdef _apply(mask, value)
