# Types for the compiled form of processes.py.

cimport cython

from rover.values.records cimport Process


cdef class Processes:
    cdef object _describers
    cdef bint _live
    cdef object _told
    cdef readonly dict _known
    cdef readonly set _undescribed
    cdef readonly dict _provisional
    cdef Process _newest

    @cython.locals(newest=Process)
    cpdef object get(self, object pid)
    @cython.locals(process=Process, heir=Process)
    cpdef Process successor(self, object pid, Process previous)
    @cython.locals(known=Process)
    cpdef Process as_described(self, Process process)
    cdef _keep(self, object process)
