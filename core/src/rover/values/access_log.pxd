# Types for the compiled form of access_log.py. A change to a class here raises `rover.abi.ABI`.

cimport cython

from rover.values.value cimport Value


cdef class AccessLog(Value):
    cdef readonly object connection
    cdef readonly object start
    cdef readonly object end
    cdef readonly object protocol
    cdef readonly object version
    cdef readonly object attributes
    cdef readonly object details
    cdef readonly object outcome


@cython.locals(made=AccessLog)
cpdef AccessLog new_log(object connection, object start, object end, object protocol, object
    version, object attributes, object details, object outcome)
