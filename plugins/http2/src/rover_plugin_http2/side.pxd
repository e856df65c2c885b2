# Types for the compiled form of side.py.

from rover_plugin_http2._header_blocks cimport HeaderBlocks, new_blocks


cdef class Side:
    cdef public object direction
    cdef public object opposite
    cdef public HeaderBlocks blocks
    cdef public Py_ssize_t memory
    cdef public Py_ssize_t max_frame_size
    cdef public long long max_table_size
    cdef public bint begun
    cdef public bint late
    cdef public bint trusted
    cdef public long long left
    cdef public long long content
    cdef public object stream
    cdef public bint ends_stream
    cdef public long long missing
    cdef public bint doubted
    cdef public Py_ssize_t walked
