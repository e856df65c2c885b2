# Types for the compiled form of processes.py.


cdef class Processes:
    cdef object _describers
    cdef bint _live
    cdef readonly dict _known
    cdef readonly set _undescribed

    cpdef object get(self, object pid)
    cdef _keep(self, object process)
