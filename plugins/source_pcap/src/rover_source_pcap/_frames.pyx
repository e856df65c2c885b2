# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# The compiled form of frames.Frames: TCP in IPv4 or IPv6, without options, fragments or tags, is read
# in place; all else is left to frames.py.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from rover_source_pcap.tcp cimport Assembler

from rover_source_pcap import frames, packet_times

cdef long long MAX_STEP = packet_times.MAX_STEP

cdef int ETHERNET = 1
cdef int COOKED = 113
cdef int COOKED2 = 276


cdef class Frames:
    cdef Assembler _tcp
    cdef object _plain
    cdef object _one
    cdef object _times
    cdef bint _sure
    cdef readonly long long time
    cdef readonly long long packets

    def __init__(self, network, Assembler tcp not None):
        self._tcp = tcp
        self._plain = frames.Frames(network, tcp)
        self._one = self._plain.one
        self._times = packet_times.PacketTimes()

    @property
    def foreign(self):
        return self._plain.foreign

    @property
    def absurd(self):
        return self._times.absurd

    def take(self, packets):
        cdef long long time, link_type, start, end, cut
        cdef bytes data
        cdef tuple packet
        for packet in packets:
            time, link_type, data, start, end, cut = packet
            if self._sure and -MAX_STEP <= time - self.time <= MAX_STEP:
                self.time = time
                self.packets += 1
                if not self._ordinary(time, link_type, data, start, end, cut):
                    self._one(packet)
            else:
                self._all(self._times.judge(packet, self.time))

    def flush(self):
        self._all(self._times.flush(self.time))

    cdef _all(self, list packets):
        """Those whose time was judged; the plain form reads them as well."""
        cdef tuple packet
        for packet in packets:
            self.time = packet[0]
            self.packets += 1
            self._one(packet)
        self._sure = self._times.sure

    cdef bint _ordinary(
        self, long long time, long long link_type, bytes data, long long start, long long end, long long cut
    ) except -1:
        """Whether the packet was ordinary, and was taken."""
        cdef const unsigned char *at
        cdef unsigned int kind
        cdef long long offset, behind, size, addresses
        if not 0 <= start <= end <= PyBytes_GET_SIZE(data):
            return False
        at = <const unsigned char *>PyBytes_AS_STRING(data)
        if link_type == ETHERNET:
            offset = start + 14
            if offset + 40 > end:
                return False
            kind = at[start + 12] << 8 | at[start + 13]
        elif link_type == COOKED:
            offset = start + 16
            if offset + 40 > end:
                return False
            kind = at[start + 14] << 8 | at[start + 15]
        elif link_type == COOKED2:
            offset = start + 20
            if offset + 40 > end:
                return False
            kind = at[start] << 8 | at[start + 1]
        else:
            return False
        if kind == 0x0800:
            # Version 4, five words of header, the protocol, neither MF nor an offset.
            if at[offset] != 0x45 or at[offset + 9] != 6 or at[offset + 6] & 0x3F or at[offset + 7]:
                return False
            behind = offset + (at[offset + 2] << 8 | at[offset + 3])
            addresses = offset + 12
            offset += 20
        elif kind == 0x86DD:
            if at[offset] >> 4 != 6 or at[offset + 6] != 6:
                return False
            behind = offset + 40 + (at[offset + 4] << 8 | at[offset + 5])
            addresses = offset + 8
            offset += 40
        else:
            return False
        if behind < offset + 20:
            return False  # damaged, or captured before it was cut up
        if behind <= end:
            end = behind
            cut = 0
        elif behind < end + cut:
            cut = behind - end
        if offset + 20 > end or at[offset + 12] < 0x50:
            return False
        start = offset + ((at[offset + 12] & 0xF0) >> 2)
        size = end + cut - start
        if size < 0:
            return False
        self._tcp.arrived(
            time,
            PyBytes_FromStringAndSize(<const char *>at + addresses, offset + 4 - addresses),
            word(at + offset + 4),
            word(at + offset + 8),
            at[offset + 13],
            size,
            data,
            start,
            end,
        )
        return True


cdef inline long long word(const unsigned char *at) noexcept nogil:
    return <long long>at[0] << 24 | <long long>at[1] << 16 | <long long>at[2] << 8 | at[3]
