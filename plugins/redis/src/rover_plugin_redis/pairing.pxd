# Types for the compiled form of pairing.py.

cimport cython

cdef Py_ssize_t PROOF


cdef class Command:
    cdef public long long owner
    cdef public long long start
    cdef public long long sequence
    cdef public str name
    cdef public bytes argument
    cdef public long long size
    cdef public int kind
    cdef public long long due
    cdef public bint whole
    cdef public bint assumed


cdef class Pairing:
    cdef public object waiting
    cdef public bint doubt
    cdef public bint probation
    cdef bint _batches
    cdef bint _alone
    cdef long long _turns

    @cython.locals(last="long long")
    cpdef list add(self, Command command, long long missing)
    @cython.locals(command=Command)
    cpdef Command answer(self)
    cpdef unasked(self)
    @cython.locals(command=Command, open_="Py_ssize_t", over="Py_ssize_t", calls="Py_ssize_t", last="long long",
                   proven="bint")
    cpdef list lose(self, long long moved, long long records, bint ordered)
