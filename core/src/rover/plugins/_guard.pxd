# What other modules may call of _guard.pyx.

cpdef check_result(result)
cpdef checked_log(found)
