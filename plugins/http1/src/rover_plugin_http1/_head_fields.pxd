# What other modules may call of _head_fields.pyx.

from libc.stdint cimport uint64_t

from rover.values.http cimport Headers


cdef class HeadFields(Headers):
    cdef bytes _head
    cdef uint64_t _marks  # of all the names in it, or all bits where they are not known


cdef inline uint64_t mark(unsigned char first, Py_ssize_t size) noexcept nogil:
    """The bit of a name of these bytes that begins so, in either case. Most names that are looked for are
    not there, and few of those have the bit of one that is."""
    return <uint64_t>1 << (((first | 0x20) + 5 * size) & 63)


cdef HeadFields fields_of(bytes head, uint64_t marks)
