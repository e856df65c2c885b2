# Types for the compiled form of guard.py. What is checked for each exchange is compiled in _guard.pyx.

cpdef dict plain_attributes(dict attributes)
cpdef tuple yielded(object decoder, object method, object now)
cpdef object role_of(object decoder)
cpdef long long memory_of(object decoder) except -1
