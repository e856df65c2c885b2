# Types for the compiled form of session.py.

cimport cython

from rover_plugin_redis.pairing cimport Command, Pairing

cdef int CLIENT
cdef int CONFIRMATION
cdef int DISCARD
cdef int EXEC
cdef int MESSAGE
cdef int MONITOR
cdef int MULTI
cdef int PLAIN
cdef int PLUS
cdef int PUSH
cdef int QUIT
cdef int REPLY
cdef int RESET
cdef int SELECT
cdef int STAR
cdef int SUBSCRIBE
cdef int UNASKED
cdef int UNKNOWN
cdef int UNSUBSCRIBE
cdef Py_ssize_t LONGEST_KIND


cdef class Session:
    cdef Pairing _pairing
    cdef object _waiting
    cdef public str database
    cdef public bint multi
    cdef bint _queued
    cdef bint _selects
    cdef public bint mute
    cdef public bint skip
    cdef long long _total
    cdef long long _patterns
    cdef long long _shards
    cdef public bint monitor

    cpdef bint answers(self, Command command, int kind, bytes mode, long long count) except -1
    cpdef lost_commands(self)
    @cython.locals(first="int", oldest=Command, subscribes="bint", kind="int")
    cpdef int what_is(self, object buffer, object data, Py_ssize_t offset) except -1
    @cython.locals(oldest=Command, pushed="bint")
    cdef int _kind(self, object data, Py_ssize_t offset) except -1
    @cython.locals(command=Command, left="long long", last="bint")
    cpdef bint confirmed(self, long long number) except -1
    @cython.locals(kind="int")
    cpdef changed(self, Command command, object error)
