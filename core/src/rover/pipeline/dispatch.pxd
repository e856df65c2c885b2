# Types for the compiled form of dispatch.py.

cimport cython

from rover.values.connection cimport Connection, new_connection
from rover.values.records cimport Closed, Detail, Opened

from rover.streams.buffer cimport StreamBuffer
from rover.streams.ledger cimport Ledger
from rover.plugins.guard cimport memory_of, role_of
from rover.pipeline.state cimport ConnectionState
from rover.pipeline.totals cimport Totals

cdef long long GRAIN
cdef Py_ssize_t FEW_DETAILS
cdef long long SPARE_STEPS
cdef long long MAX_SIZE
cdef long long DETAIL_MEMORY
cdef int FIRST_V1
cdef int FIRST_V2
cdef tuple WAYS
cdef tuple UNMADE


cdef class Pipeline:
    cdef readonly Totals totals
    cdef object _manager
    cdef object _hook
    cdef list _http_hooks
    cdef list _stream_hooks
    cdef list _exchange_hooks
    cdef object _recogniser
    cdef tuple _outlets
    cdef tuple _kernel_outlets
    cdef object _source
    cdef object _set_unneeded
    cdef object _describe
    cdef object _epoch
    cdef object _settings
    cdef Py_ssize_t _max_connections
    cdef long long _max_memory
    cdef long long _memory
    cdef list _idlest
    cdef dict _states
    cdef dict _processes
    cdef dict _made
    cdef list _sweep

    @cython.locals(state=ConnectionState)
    cpdef opened(self, Opened opened)
    @cython.locals(state=ConnectionState, buffer=StreamBuffer, sequence="long long", start="long long")
    cpdef data(self, Detail detail, object payload)
    @cython.locals(state=ConnectionState)
    cpdef closed(self, Closed closed)
    cdef object _process(self, object pid)
    cdef object _facts(self, Opened opened)
    cdef ConnectionState _add(self, ConnectionState state)
    @cython.locals(state=ConnectionState)
    cdef ConnectionState _remove(self, object identity)
    @cython.locals(state=ConnectionState)
    cdef _evict(self, object now)
    @cython.locals(state=ConnectionState)
    cdef ConnectionState _add_unbuilt(self, Detail detail)
    cdef _build(self, ConnectionState state, object facts)
    cdef _missed(self, ConnectionState state, long long sequence)
    cdef _account(self, ConnectionState state, Detail detail)
    @cython.locals(buffer=StreamBuffer, ingress=StreamBuffer, egress=StreamBuffer)
    cdef _recognise(self, ConnectionState state, int direction, object now)
    @cython.locals(buffer=StreamBuffer, first="int")
    cdef bint _passed_header(self, ConnectionState state, int direction) except -1
    @cython.locals(ingress=StreamBuffer, egress=StreamBuffer, buffer=StreamBuffer)
    cdef _claim(self, ConnectionState state, object spec, object now, object upgrade=*)
    @cython.locals(buffer=StreamBuffer)
    cdef _make_plain(self, ConnectionState state)
    @cython.locals(buffer=StreamBuffer, before="long long", steps="long long", _="long long")
    cdef _decode(self, ConnectionState state, int direction, object now)
    cdef _leave_out(self, ConnectionState state, int direction)
    cdef object _ask(self, list implementations, tuple arguments)
    cdef _collect(self, ConnectionState state, object method, object now, object cut)
    cdef object _role(self, ConnectionState state)
    cdef _poll_memory(self, ConnectionState state, object now)
    @cython.locals(ingress=StreamBuffer, egress=StreamBuffer, taken="long long")
    cdef _weigh(self, ConnectionState state)
    cdef bint _is_full(self) except -1
    @cython.locals(state=ConnectionState)
    cdef _relieve(self, object now)
    cdef _set_upload(self, object connection, object limit)
    @cython.locals(details=tuple)
    cdef _exchange(self, ConnectionState state, object exchange)
    @cython.locals(buffer=StreamBuffer)
    cdef _cut(self, ConnectionState state, object now, object cut)
    @cython.locals(buffer=StreamBuffer)
    cdef _finish(self, ConnectionState state, object now, bint reset=*)
    cdef _overflow(self, ConnectionState state, object protocol_break, object now)
    cdef _release(self, ConnectionState state)
    @cython.locals(free=tuple)
    cdef _send_free(self, ConnectionState state)
    cdef _send_alone(self, ConnectionState state, tuple details)
    @cython.locals(taken="long long")
    cdef _send(self, ConnectionState state, object log, tuple outlets)
