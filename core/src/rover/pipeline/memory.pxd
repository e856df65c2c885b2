# Types for the compiled form of memory.py.


cdef class MemoryBudget:
    cdef readonly long long limit
    cdef public long long taken
