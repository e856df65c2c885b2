# What other modules may call of _guard.pyx.

from rover.values.access_log cimport AccessLog

cpdef check_result(result)
cpdef checked_log(found)
cpdef checked_change(found, AccessLog own)
