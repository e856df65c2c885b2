# Types for the compiled form of processes.py.

cimport cython

from rover.values.records cimport Process


cdef class Processes:
    cdef object _describers
    cdef bint _live
    cdef readonly dict _known
    cdef readonly set _undescribed
    cdef Process _newest

    @cython.locals(newest=Process)
    cpdef object get(self, object pid)
    cdef _keep(self, object process)
