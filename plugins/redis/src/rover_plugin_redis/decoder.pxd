# Types for the compiled form of decoder.py. Buffers are the core's, and used as anybody uses them.

cimport cython

from rover_plugin_redis.exchange cimport exchange_of
from rover_plugin_redis.pairing cimport Command, Pairing
from rover_plugin_redis.resp_reader cimport CommandReader, ReplyReader
from rover_plugin_redis.session cimport Session

cdef int BAD
cdef int CONFIRMATION
cdef int DONE
cdef long long HELD
cdef long long HOLD
cdef Py_ssize_t KEPT
cdef Py_ssize_t MAX_LINE
cdef Py_ssize_t MAX_NAME
cdef Py_ssize_t MAX_WAITING
cdef Py_ssize_t MAX_NAMES
cdef int MESSAGE
cdef int PLAIN
cdef int STAR
cdef int MINUS
cdef int NEWLINE
cdef int MONITOR
cdef int REPLY
cdef int SYNC
cdef int UNASKED
cdef int UNKNOWN


cdef class RedisDecoder:
    cdef public object role
    cdef object _known
    cdef bint _keys
    cdef int _asking
    cdef object _requests
    cdef object _replies
    cdef CommandReader _command
    cdef ReplyReader _reply
    cdef Pairing _pairing
    cdef object _waiting
    cdef Session _session
    cdef list _out
    cdef list _ready
    cdef dict _names
    cdef long long _owners
    cdef bint _over
    cdef long long _owner
    cdef long long _start
    cdef long long _sequence
    cdef long long _begin
    cdef bint _lost_commands
    cdef int _what
    cdef object _reply_owner
    cdef long long _reply_begin
    cdef bint _lost_replies
    cdef long long _size

    cpdef object unneeded(self, object direction)
    @cython.locals(way="int", before="long long")
    cpdef object decode(self, object direction, object buffer, object now)
    cpdef object expire(self, object now)
    cpdef object close(self, object now)
    cdef bint _choose(self, object direction, object buffer, object now) except -1
    cdef bint _tells(self, object buffer) except -1
    cdef object _adopted(self, object buffer)
    @cython.locals(reader=CommandReader, offset="Py_ssize_t", end="Py_ssize_t", size="long long",
                   missing="long long", state="int")
    cdef bint _read_commands(self, object buffer, object now) except -1
    @cython.locals(offset="Py_ssize_t", end="Py_ssize_t", size="long long")
    cdef bint _read_line(self, object buffer, object now) except -1
    @cython.locals(command=Command, session=Session, kind="int", unusual="bint")
    cdef _asked(self, bytes name, bytes argument, bytes mode, long long count, long long size, long long missing,
                object now)
    @cython.locals(offset="Py_ssize_t", star="Py_ssize_t")
    cdef bint _find_command(self, object buffer) except -1
    cdef bint _bad_command(self, object buffer, object now) except -1
    cdef _lose_commands(self, object buffer, object now)
    @cython.locals(reader=CommandReader, last=Command)
    cdef _lose_command(self, long long missing, object now)
    @cython.locals(reader=ReplyReader, offset="Py_ssize_t", end="Py_ssize_t", size="long long",
                   number="long long", what="int", state="int", oldest=Command)
    cdef object _read_replies(self, object buffer, object now)
    @cython.locals(command=Command)
    cdef object _complete(self, long long size, object error, object now)
    cdef bint _may_hold(self, object buffer, object now) except -1
    @cython.locals(offset="Py_ssize_t", start="Py_ssize_t", end="Py_ssize_t", size="long long")
    cdef object _synchronise(self, object buffer, object now)
    @cython.locals(reader=ReplyReader, command=Command, moved="long long", records="long long")
    cdef _lose_replies(self, object buffer, object now)
    cdef object _exchange(self, Command command, object now, object outcome, long long size, object error)
    cdef _abandon(self, object now)
    cdef _break(self, object reason, object detail, object buffer, object now)
