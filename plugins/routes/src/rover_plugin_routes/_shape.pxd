# What other modules may call of _shape.pyx.

cpdef bint is_value(str segment) except -1
