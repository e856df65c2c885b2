# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# The compiled form of pcap_records.py.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from rover_source_pcap import capture_reader, pcap_records

cdef long long MAX_PACKET = capture_reader.MAX_PACKET
cdef long long HEADER = pcap_records.RECORD_HEADER


def whole_records(bytes data not None, long long offset, str order, long long unit, object link_type):
    cdef list packets = []
    cdef const unsigned char *at = <const unsigned char *>PyBytes_AS_STRING(data)
    cdef long long size = PyBytes_GET_SIZE(data)
    cdef bint big = order == ">"
    cdef long long captured, length, start, end, time
    if offset < 0:
        raise ValueError("a negative offset")
    while offset + HEADER <= size:
        captured = word(at + offset + 8, big)
        length = word(at + offset + 12, big)
        start = offset + HEADER
        end = start + captured
        if captured > MAX_PACKET or end > size:
            return packets, offset, HEADER + captured
        # At most 2**32 seconds and as many times 1,000 ns: less than 2**62.
        time = word(at + offset, big) * 1_000_000_000 + word(at + offset + 4, big) * unit
        packets.append((time, link_type, data, start, end, length - captured if length > captured else 0))
        offset = end
    return packets, offset, HEADER


cdef inline long long word(const unsigned char *at, bint big) noexcept nogil:
    if big:
        return <long long>at[0] << 24 | <long long>at[1] << 16 | <long long>at[2] << 8 | at[3]
    return <long long>at[3] << 24 | <long long>at[2] << 16 | <long long>at[1] << 8 | at[0]
