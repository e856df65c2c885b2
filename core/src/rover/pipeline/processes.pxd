# Types for the compiled form of processes.py.


cdef class Processes:
    cdef dict _known

    cpdef object get(self, object pid)
