# Types for the compiled form of trace.py.

from rover.values.http cimport Headers
from rover.values.value cimport Value


cdef class TraceContext(Value):
    cdef readonly object provider
    cdef readonly object trace_id
    cdef readonly object span_id
    cdef readonly object segment_id


cpdef trace_context(Headers headers)
cdef _sw8(value)
