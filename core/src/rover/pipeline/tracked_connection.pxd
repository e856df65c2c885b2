# Types for the compiled form of tracked_connection.py.

cimport cython

from rover.values.connection cimport Connection, speaking
from rover.values.http cimport HttpExchange
from rover.values.records cimport Detail, Process

from rover.contracts.in_place cimport InPlaceDecoder
from rover.pipeline.opening cimport Opening
from rover.pipeline.outbox cimport Outbox
from rover.pipeline.source_side cimport SourceSide
from rover.pipeline.surroundings cimport Surroundings
from rover.pipeline.totals cimport Totals
from rover.plugins._guard cimport check_result
from rover.plugins.guard cimport memory_of, role_of, yielded
from rover.streams.buffer cimport StreamBuffer
from rover.streams.ledger cimport Ledger
from rover.streams.pair cimport StreamPair

cdef Py_ssize_t _LARGE
cdef long long GRAIN
cdef Py_ssize_t FEW_DETAILS
cdef long long SPARE_STEPS
cdef long long MAX_SIZE
cdef tuple WAYS


cdef class TrackedConnection:
    cdef readonly Connection connection
    cdef readonly Outbox outbox
    cdef public bint listed
    cdef public long long memory
    cdef public bint begins_tls
    cdef Surroundings _surroundings
    cdef StreamPair _streams
    cdef Opening _opening
    cdef object _decoder
    cdef InPlaceDecoder _in_place
    cdef bint _weighed
    cdef bint _skipping
    cdef long long _kept
    cdef object _spec
    cdef long _claims

    cpdef join(self, Detail detail)
    @cython.locals(opening=Opening)
    cpdef pin(self, object time)
    cpdef build(self, object facts)
    @cython.locals(process=Process, described=Process)
    cpdef describe(self)
    cpdef account(self, Detail detail)
    @cython.locals(totals=Totals, missing="long long")
    cdef _count(self, long long sequence)
    @cython.locals(buffer=StreamBuffer)
    cpdef bint data(self, Detail detail, object payload) except -1
    @cython.locals(buffer=StreamBuffer)
    cdef bint lend(self, Detail detail, const char *memory, Py_ssize_t captured) except -1
    @cython.locals(totals=Totals)
    cdef bint _enter(self, Detail detail, Py_ssize_t captured) except -1
    cdef bint _pass_by(self, Detail detail) except -1
    @cython.locals(direction="int", now="long long")
    cdef _read(self, StreamBuffer buffer, Detail detail, Py_ssize_t captured)
    cdef bint _settle(self, StreamBuffer buffer) except -1
    @cython.locals(opening=Opening, connection=Connection, buffer=StreamBuffer, other=StreamBuffer)
    cdef _recognise(self, int direction, object now)
    @cython.locals(connection=Connection, buffer=StreamBuffer, first="int")
    cdef _claim(self, object spec, object now, object upgrade=*)
    cdef _make_plain(self)
    @cython.locals(in_place=InPlaceDecoder, before="long long", steps="long long", _="long long")
    cdef _decode(self, StreamBuffer buffer, int direction, long long now)
    @cython.locals(source=SourceSide)
    cdef _leave_out(self, int direction)
    cdef _collect(self, object method, object now, object cut)
    @cython.locals(details=tuple, connection=Connection, http=HttpExchange)
    cdef _exchange(self, object exchange)
    @cython.locals(surroundings=Surroundings, totals=Totals, connection=Connection, process=Process, call=Detail)
    cdef _deliver(self, object exchange, tuple details)
    cdef object _role(self)
    cdef _end_protocol(self, object protocol_break, object way, object now)
    @cython.locals(totals=Totals, details=tuple)
    cdef _break(self, object protocol_break, object now)
    cdef _overflow(self, object protocol_break, object now)
    cdef _blame(self, object where, object error)
    cdef _fail(self, object where, object error, object now)
    cdef _poll_memory(self, long long now)
    @cython.locals(taken="long long")
    cdef _weigh(self)
    cpdef relieve(self, object said, object now)
    cpdef expire(self, object now)
    @cython.locals(buffer=StreamBuffer)
    cpdef finish(self, object now, bint reset=*)
    cpdef cut(self, object now, object outcome)
    cpdef release(self)
    cpdef send_held(self)
    @cython.locals(free=tuple)
    cdef _send_free(self)
    cdef _set_upload(self, object limit)
