# Types for the compiled form of facts.py.

cimport cython

from rover.values.access_log cimport AccessLog
from rover.values.attributes cimport Attributes, Shape

cdef Py_ssize_t MAX_SHAPES
cdef long long SERVER_ERROR
cdef long long LONG_TEXT
cdef tuple ABSENT
cdef object BREAK
cdef object ABORTED


cdef class Facts:
    cdef dict _shapes
    cdef readonly object method
    cdef readonly object subject
    cdef readonly object host
    cdef readonly object status
    cdef readonly object rpc
    cdef readonly object error
    cdef readonly long long size
    cdef readonly long long text
    cdef readonly bint broken
    cdef readonly bint failed

    @cython.locals(shaped=Attributes, cells=tuple, plan=tuple, size="long long", text="long long", at="Py_ssize_t")
    cpdef read(self, AccessLog log)
    cpdef tuple _plan(self, Shape shape)
