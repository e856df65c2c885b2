# Types for the compiled form of connection.py. A change to a class here raises `rover.abi.ABI`.

cimport cython

from rover.values.value cimport Value


cdef class ProtocolBreak(Value):
    cdef readonly object reason
    cdef readonly object detail
    cdef readonly object protocol
    cdef readonly object direction
    cdef readonly object position
    cdef readonly object upgrade
    cdef readonly object request
    cdef readonly object response


cdef class Connection(Value):
    cdef readonly unsigned long long id
    cdef readonly object local
    cdef readonly object remote
    cdef readonly object role
    cdef readonly object process
    cdef readonly long long opened
    cdef readonly long long epoch
    cdef readonly object tls
    cdef readonly object protocol
    cdef readonly object protocol_break
    cdef readonly object proxied
    cdef readonly object tls_version
    cdef readonly object server_name


cpdef Connection speaking(Connection connection, object protocol)

@cython.locals(made=Connection)
cpdef Connection new_connection(unsigned long long id, object local, object remote, object role,
    object process, long long opened, long long epoch, object tls, object protocol, object
    protocol_break, object proxied, object tls_version, object server_name)
