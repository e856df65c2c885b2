# Types for the compiled form of details.py.


cdef class Ledger:
    cdef dict _owned
    cdef list _free
    cdef readonly Py_ssize_t waiting
    cdef public long long missing
    cdef public long long missed
    cdef public bint overlapping

    cpdef miss(self, long long due, long long sequence)
    cpdef assign(self, object owner, object detail)
    cpdef free(self, object detail)
    cpdef tuple take(self, object owner)
    cpdef tuple take_free(self)
    cpdef tuple drain(self)
