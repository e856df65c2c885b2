# Types for the compiled form of totals.py.


cdef class Totals:
    cdef public long long connections
    cdef public long long exchanges
    cdef public long long unhandled
    cdef public object dropped
    cdef public long long dropped_alone
    cdef public long long calls
    cdef public long long in_exchanges
    cdef public long long alone
    cdef public object breaks
    cdef public object records_lost
    cdef public object missing  # what hostile sequence numbers add up to fits no 64 bits
    cdef public long long resynchronised
    cdef public long long late_payload
    cdef public long long evicted
    cdef public long long returned
    cdef public object unseen_bytes  # as of `missing`
    cdef public long long unseen_connections

    cpdef drop(self, object plugin, object rule)
    cpdef broke(self, object reason)
