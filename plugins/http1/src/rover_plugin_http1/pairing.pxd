# Types for the compiled form of pairing.py.

cimport cython

from rover_plugin_http1.exchange cimport Request


cdef class Pairing:
    cdef public list waiting
    cdef public Py_ssize_t size
    cdef public Py_ssize_t low
    cdef public Py_ssize_t high
    cdef public long long records
    cdef public bint unknown
    cdef public bint gapped
    cdef public bint interim
    cdef public bint turns
    cdef long long _hint
    cdef bint _unread
    cdef bint _heads
    cdef public long long moved
    cdef long long _stray
    cdef long long _until
    cdef bint _beheaded

    @cython.locals(waiting=list, cut="bint", stray="bint")
    cpdef bint begin(self, Request request) except -1
    @cython.locals(request=Request, before="Py_ssize_t", most="Py_ssize_t", newest="Py_ssize_t",
                   guess="Py_ssize_t")
    cpdef list narrow(self, long long start, bint hidden, bint early)
    @cython.locals(oldest=Request)
    cpdef bint answerable(self, long long start)
    @cython.locals(waiting=list, second=Request)
    cpdef Request oldest(self, long long start)
    @cython.locals(request=Request)
    cpdef Request answer(self)
    cpdef unasked(self, long long start, bint hidden)
    @cython.locals(waiting=list, request=Request, open_="Py_ssize_t", awaited="bint", interim="bint",
                   small="bint", hides="bint")
    cpdef list lose(self, long long moved, long long size, long long records, long long until, bint boundary,
                    long long passed, long long reached)
    @cython.locals(waiting=list, oldest=Request)
    cpdef pass_over(self, long long reached)
    cpdef list end(self)
    @cython.locals(dropped=list, request=Request)
    cdef list _drop(self, Py_ssize_t count)
    cdef _note(self, Request request)
