# Types for the compiled form of tcp_connection.py.

cimport cython


cdef class TcpConnection:
    cdef public object id
    cdef public long long begun
    cdef public long long seen
    cdef public long long sequence
    cdef public bint late
    cdef public bint closed
    cdef public bint reset
    cdef public Half first
    cdef public Half client


cdef class Half:
    cdef public TcpConnection connection
    cdef public bytes key
    cdef public Half other
    cdef public long long direction
    cdef public long long isn
    cdef public long long next
    cdef public long long position
    cdef public long long acknowledged
    cdef public long long proven
    cdef public long long since
    cdef public bint orderly
    cdef public object held
    cdef public long long stalled
    cdef public long long fin
    cdef public bint ended


@cython.locals(client=Half)
cpdef object opened_of(TcpConnection connection)
@cython.locals(ahead="long long")
cpdef long long distance(long long here, long long there) except? -1
