# Types for the compiled form of pcap.py.


cdef class PcapReader:
    cdef object _backlog
    cdef str _order
    cdef long long _unit
    cdef long long _link_type

    cdef _begin(self, bytes header)
