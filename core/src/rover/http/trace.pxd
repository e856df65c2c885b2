# Types for the compiled form of trace.py.

from rover.values.http cimport Headers


cpdef trace_context(Headers headers)
cdef _sw8(value)
