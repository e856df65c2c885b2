# Types for the compiled form of tls_connection.py.

cimport cython

from rover.values.connection cimport Connection
from rover.values.records cimport Detail, Plaintext

from rover.pipeline.totals cimport Totals
from rover.pipeline.tracked_connection cimport TrackedConnection
from rover.streams.buffer cimport StreamBuffer
from rover.streams.pair cimport StreamPair
from rover.streams.tls_ledger cimport StandIn, TlsLedger, stand_in


cdef class Waiting:
    cdef readonly object exchange
    cdef readonly tuple calls
    cdef readonly Connection connection
    cdef readonly long long due
    cdef readonly long long memory


cdef class TlsConnection(TrackedConnection):
    cdef readonly bint read
    cdef object _handshake
    cdef object _waiting
    cdef long long _withheld
    cdef bint _waits
    cdef StreamPair _sockets
    cdef bint _joined
    cdef TlsLedger _join

    @cython.locals(buffer=StreamBuffer, detail=Detail, direction="int")
    cdef _succeed(self, TrackedConnection before, object now)
    cpdef forget_sockets(self)
    cpdef account(self, Detail detail)
    @cython.locals(totals=Totals, sockets=StreamPair, missing="long long")
    cdef _count_call(self, Detail detail)
    cpdef bint data(self, Detail detail, object payload) except -1
    cdef bint lend(self, Detail detail, const char *memory, Py_ssize_t captured) except -1
    cdef _hold(self, Detail detail)
    cdef _read_handshake(self, int direction, object data)
    cdef _end_handshake(self)
    @cython.locals(call=StandIn)
    cpdef bint plaintext(self, Plaintext plaintext, object payload) except -1
    @cython.locals(call=StandIn)
    cdef bint lend_plaintext(self, Plaintext plaintext, const char *memory, Py_ssize_t captured) except -1
    @cython.locals(call=StandIn)
    cdef StandIn _enter_plaintext(self, Plaintext plaintext, Py_ssize_t captured)
    cdef _begin(self, StandIn call)
    @cython.locals(missing="long long")
    cdef _count(self, long long sequence)
    cdef _deliver(self, object exchange, tuple calls)
    @cython.locals(first=Waiting)
    cdef _deliver_due(self, long long now)
    @cython.locals(first=Waiting)
    cdef _deliver_first(self)
    cdef _stop_waiting(self)
    cdef _break(self, object protocol_break, object now)
    @cython.locals(kept="long long")
    cdef _weigh(self)
    cpdef relieve(self, object said, object now)
    cpdef expire(self, object now)
    cpdef finish(self, object now, bint reset=*)
    cpdef cut(self, object now, object outcome)
