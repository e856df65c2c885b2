# Types for the compiled form of tls_ledger.py.

cimport cython

from rover.values.records cimport Detail, Plaintext

from rover.streams.ledger cimport Ledger

cdef long long NO_CALL
cdef long long INGRESS
cdef long long EGRESS
cdef long long MAX_FRAGMENT
cdef long long OVERHEAD


cdef class StandIn(Detail):
    cdef readonly long long begin
    cdef readonly long long stop
    cdef readonly list details


@cython.locals(made=StandIn)
cpdef StandIn stand_in(Plaintext plaintext)


cdef class Side:
    cdef readonly list claims
    cdef readonly list held
    cdef readonly long long claimed_to
    cdef readonly long long seen_to

    @cython.locals(low="Py_ssize_t", high="Py_ssize_t", middle="Py_ssize_t", detail=Detail)
    cdef Py_ssize_t held_from(self, long long position) except -1
    @cython.locals(low="Py_ssize_t", high="Py_ssize_t", middle="Py_ssize_t", claim=StandIn)
    cdef Py_ssize_t claims_from(self, long long position) except -1
    @cython.locals(claims=list, at="Py_ssize_t", position="long long", claim=StandIn)
    cdef StandIn claim_of(self, Detail detail)
    @cython.locals(claims=list, at="Py_ssize_t", other=StandIn)
    cdef forget(self, StandIn claim)


cdef class TlsLedger(Ledger):
    cdef Side _ingress
    cdef Side _egress
    cdef list _loose

    @cython.locals(side=Side)
    cpdef begin(self, int direction, long long position)
    @cython.locals(side=Side, claim=StandIn, position="long long")
    cpdef add(self, Detail detail, Py_ssize_t limit=*)
    @cython.locals(side=Side, held=list, last=Detail, direction="long long", at="Py_ssize_t", after="Py_ssize_t")
    cpdef own(self, StandIn call, long long begin, long long end)
    @cython.locals(call=StandIn, seen="long long")
    cpdef bint awaits(self, tuple calls) except -1
    @cython.locals(call=StandIn, side=Side, found=list)
    cpdef tuple details_of(self, tuple calls)
    @cython.locals(side=Side, held=list, count="Py_ssize_t", detail=Detail)
    cpdef let_go(self, long long before)
    @cython.locals(free=tuple, loose=list)
    cpdef tuple take_free(self)
    @cython.locals(side=Side, everything=list)
    cpdef tuple drain(self)


@cython.locals(begin="long long", records="long long", detail=Detail)
cdef long long first_begin(list held, StandIn call, long long end) except? -1

@cython.locals(before="long long", detail=Detail)
cdef bint in_order(list details) except -1
