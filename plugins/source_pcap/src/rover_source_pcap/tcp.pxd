# Types for the compiled form of tcp.py. Positions and times stay below 2**62, as rover.records wants.

cimport cython

from rover.values.records cimport new_detail

cdef long long _MASK
cdef long long _HALF
cdef long long _UNKNOWN
cdef long long _FIN
cdef long long _SYN
cdef long long _RST
cdef long long _PSH
cdef long long _ACK
cdef long long _RARE
cdef long long _INGRESS
cdef long long _EGRESS


cdef class _Connection:
    cdef public object id
    cdef public long long begun
    cdef public long long seen
    cdef public long long sequence
    cdef public bint late
    cdef public bint closed
    cdef public bint reset
    cdef public _Half first
    cdef public _Half client


cdef class _Half:
    cdef public _Connection connection
    cdef public bytes key
    cdef public _Half other
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


cdef class Assembler:
    cdef public object handler
    cdef readonly object skipped
    cdef readonly object gaps
    cdef readonly object gap_bytes
    cdef readonly object evicted
    cdef object _ports
    cdef readonly dict _halves
    cdef readonly dict _connections
    cdef object _reported
    cdef readonly long long _held
    cdef long long _aged
    cdef long long _packets

    @cython.locals(seq="long long", ack="long long", length="long long", flags="long long", start="long long", size="long long")
    cpdef segment(self, long long time, bytes key, bytes data, long long offset, long long end, long long cut)
    @cython.locals(half=_Half, other=_Half)
    cpdef arrived(
        self, long long time, bytes key, long long seq, long long ack, long long flags, long long size,
        bytes data, long long start, long long end
    )
    cdef _rare(
        self, long long time, _Half half, long long seq, long long ack, long long flags, long long size,
        bytes data, long long start, long long end
    )
    @cython.locals(ahead="long long")
    cdef _disorder(
        self, long long time, _Half half, long long seq, long long ack, long long flags, long long size,
        bytes data, long long start, long long end
    )
    cdef bint _probes(self, _Half half, long long seq) except -1
    cdef _hold(self, long long time, _Half half, long long position, long long size, bytes payload, long long ack)
    @cython.locals(connection=_Connection, sequence="long long", position="long long")
    cdef _deliver(self, long long start, long long time, _Half half, long long size, bytes payload)
    cdef _drain(self, long long time, _Half half)
    @cython.locals(start="long long")
    cdef _advance(self, long long time, _Half half, long long size, bytes payload, long long ack)
    cdef _caught_up(self, _Half half)
    @cython.locals(ahead="long long", proven="long long")
    cdef _prove(self, long long time, _Half half, long long ack)
    cdef _end(self, long long time, _Half half)
    @cython.locals(acknowledged="long long", target="long long")
    cdef _settle(self, long long time, _Half half)
    cdef _jump(self, long long time, _Half half, long long target)
    cdef bint _selected(self, bytes key) except -1
    @cython.locals(connection=_Connection, half=_Half)
    cdef _Half _begin(self, long long time, bytes key)
    @cython.locals(connection=_Connection, other=_Half, begin="long long")
    cdef _Half _synchronise(self, long long time, _Half half, long long seq, long long ack, bint answer)
    @cython.locals(connection=_Connection, other=_Half)
    cdef _open(self, _Half half, long long seq, bint answer)
    @cython.locals(client=_Half)
    cdef _report(self, _Connection connection)
    @cython.locals(ahead="long long")
    cdef _finish(self, long long time, _Half half, long long seq)
    @cython.locals(connection=_Connection)
    cdef _reset(self, long long time, _Half half, long long seq)
    @cython.locals(client=_Half, half=_Half)
    cdef _close(self, long long time, _Connection connection)
    @cython.locals(first=_Half)
    cdef _forget(self, long long time, _Connection connection)
    @cython.locals(connection=_Connection, half=_Half, silent="long long")
    cpdef age(self, long long time, long long packets)
    cdef _make_room(self, long long time)
    @cython.locals(connection=_Connection)
    cpdef finish(self, long long time)


@cython.locals(ahead="long long")
cdef long long _distance(long long here, long long there) except? -1
