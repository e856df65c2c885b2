# Types for the compiled form of ledger.py.

cimport cython

from rover.values.records cimport Detail


cdef class Ledger:
    cdef object _owner
    cdef Detail _first
    cdef Detail _second
    cdef list _more
    cdef dict _others
    cdef list _free
    cdef readonly Py_ssize_t waiting
    cdef public long long missing
    cdef public long long missed
    cdef public bint overlapping

    cpdef miss(self, long long due, long long sequence)
    cpdef assign(self, object owner, Detail detail)
    @cython.locals(first=Detail, second=Detail, more=list)
    cdef tuple _own(self)
    @cython.locals(others=dict, released=list)
    cdef _release(self)
    cpdef free(self, Detail detail)
    @cython.locals(details=tuple)
    cpdef tuple take(self, object owner)
    @cython.locals(free=list)
    cpdef tuple take_free(self)
    @cython.locals(everything=list)
    cpdef tuple drain(self)
