# Types for the compiled form of guard.py.

cpdef check_result(object result)
cpdef object checked_log(object log)
cpdef check_attributes(dict attributes)
cpdef object role_of(object decoder)
cpdef object memory_of(object decoder)
