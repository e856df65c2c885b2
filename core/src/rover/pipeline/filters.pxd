# Types for the compiled form of filters.py.

cimport cython

from rover.pipeline.totals cimport Totals
from rover.plugins._guard cimport checked_change
from rover.values.access_log cimport AccessLog


cdef class Filters:
    cdef tuple _implementations
    cdef Totals _totals

    @cython.locals(implementation=tuple)
    cpdef object apply(self, AccessLog log)
    cdef _drop(self, object plugin, object drop, AccessLog log)
