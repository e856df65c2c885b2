# Types for the compiled form of outbox.py.

from rover.pipeline.delivery cimport Delivery
from rover.pipeline.totals cimport Totals
from rover.values.access_log cimport AccessLog


cdef class Outbox:
    cdef readonly bint holds
    cdef readonly long long memory
    cdef list _held
    cdef Delivery _delivery
    cdef Totals _totals

    cpdef put(self, AccessLog log)
    cpdef put_alone(self, object connection, tuple details)
    cpdef send_held(self, object facts)
    cpdef release(self, object facts)
