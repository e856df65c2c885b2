# Types for the compiled form of tcp.py. Positions and times stay below 2**62, as rover.records wants.

cimport cython

from rover.values.records cimport new_detail
from rover_source_pcap.tcp_connection cimport Half, TcpConnection, distance, opened_of

cdef long long _MASK
cdef long long _HALF
cdef long long UNKNOWN
cdef long long _FIN
cdef long long _SYN
cdef long long _RST
cdef long long _PSH
cdef long long _ACK
cdef long long _RARE


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
    @cython.locals(half=Half, other=Half)
    cpdef arrived(
        self, long long time, bytes key, long long seq, long long ack, long long flags, long long size,
        bytes data, long long start, long long end
    )
    cdef _rare(
        self, long long time, Half half, long long seq, long long ack, long long flags, long long size,
        bytes data, long long start, long long end
    )
    @cython.locals(ahead="long long")
    cdef _disorder(
        self, long long time, Half half, long long seq, long long ack, long long flags, long long size,
        bytes data, long long start, long long end
    )
    cdef bint _probes(self, Half half, long long seq) except -1
    cdef _hold(self, long long time, Half half, long long position, long long size, bytes payload, long long ack)
    @cython.locals(connection=TcpConnection, sequence="long long", position="long long")
    cdef _deliver(self, long long start, long long time, Half half, long long size, bytes payload)
    cdef _drain(self, long long time, Half half)
    @cython.locals(start="long long")
    cdef _advance(self, long long time, Half half, long long size, bytes payload, long long ack)
    cdef _caught_up(self, Half half)
    @cython.locals(ahead="long long", proven="long long")
    cdef _prove(self, long long time, Half half, long long ack)
    cdef _end(self, long long time, Half half)
    @cython.locals(acknowledged="long long", target="long long")
    cdef _settle(self, long long time, Half half)
    cdef _jump(self, long long time, Half half, long long target)
    cdef bint _selected(self, bytes key) except -1
    @cython.locals(connection=TcpConnection, half=Half)
    cdef Half _begin(self, long long time, bytes key)
    @cython.locals(connection=TcpConnection, other=Half, begin="long long")
    cdef Half _synchronise(self, long long time, Half half, long long seq, long long ack, bint answer)
    @cython.locals(connection=TcpConnection, other=Half)
    cdef _open(self, Half half, long long seq, bint answer)
    cdef _report(self, TcpConnection connection)
    @cython.locals(ahead="long long")
    cdef _finish(self, long long time, Half half, long long seq)
    @cython.locals(connection=TcpConnection)
    cdef _reset(self, long long time, Half half, long long seq)
    @cython.locals(client=Half, half=Half)
    cdef _close(self, long long time, TcpConnection connection)
    @cython.locals(first=Half)
    cdef _forget(self, long long time, TcpConnection connection)
    @cython.locals(connection=TcpConnection, half=Half, silent="long long")
    cpdef age(self, long long time, long long packets)
    cdef _make_room(self, long long time)
    @cython.locals(connection=TcpConnection)
    cpdef finish(self, long long time)
