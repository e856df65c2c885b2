# Types for the compiled form of tls_ledger.py.

cimport cython

from rover.values.records cimport Detail, Plaintext

from rover.streams.ledger cimport Ledger


cdef class Claim:
    cdef readonly long long begin
    cdef readonly long long end
    cdef readonly list details


cdef class TlsLedger(Ledger):
    cdef tuple _claims
    cdef tuple _held
    cdef list _claimed_to
    cdef list _seen_to
    cdef dict _of_call
    cdef list _loose

    cpdef begin(self, int direction, long long position)
    @cython.locals(held=list, claim=Claim, position="long long")
    cpdef add(self, Detail detail, Py_ssize_t limit=*)
    @cython.locals(held=list, claims=list, claim=Claim, again=Claim, begin="long long", end="long long", at="Py_ssize_t",
                   after="Py_ssize_t")
    cpdef own(self, Plaintext plaintext)
    @cython.locals(begin="long long", records="long long", detail=Detail)
    cdef long long _first_begin(self, Plaintext plaintext, long long end) except? -1
    @cython.locals(claims=list, at="Py_ssize_t", position="long long")
    cdef Claim _claim_of(self, Detail detail)
    @cython.locals(call=Detail, claim=Claim, seen="long long")
    cpdef bint awaits(self, tuple calls) except -1
    @cython.locals(call=Detail, claim=Claim, found=list)
    cpdef tuple details_of(self, tuple calls)
    @cython.locals(claims=list, at="Py_ssize_t")
    cdef _forget(self, int direction, Claim claim)
    @cython.locals(held=list, count="Py_ssize_t", detail=Detail)
    cpdef let_go(self, long long before)
    cpdef tuple take_free(self)
    @cython.locals(claim=Claim)
    cpdef tuple drain(self)
