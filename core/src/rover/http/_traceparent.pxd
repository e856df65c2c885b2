# What other modules may call of _traceparent.pyx.

cpdef tuple traceparent(str value)
