# Types for the compiled form of trace.py.

cimport cython

from rover.http._traceparent cimport traceparent
from rover.values.http cimport Headers
from rover.values.value cimport Value


cdef class TraceContext(Value):
    cdef readonly object provider
    cdef readonly object trace_id
    cdef readonly object span_id
    cdef readonly object segment_id


cpdef trace_context(Headers headers)
@cython.locals(ids=tuple, fields=tuple)
cpdef tuple trace_fields(Headers headers)
cdef tuple _sw8(value)
