# Types for the compiled form of records.py. A change to a class here raises `rover.abi.ABI`.

cimport cython

from rover.values.value cimport Value


cdef class Address(Value):
    cdef readonly object host
    cdef readonly object port


cdef class Process(Value):
    cdef readonly object pid
    cdef readonly object name
    cdef readonly object attributes


cdef class Detail(Value):
    cdef readonly unsigned long long connection
    cdef readonly long long sequence
    cdef readonly long long start
    cdef readonly long long end
    cdef readonly long long position
    cdef readonly long long size
    cdef readonly long long pid
    cdef readonly long long fd
    cdef readonly long long syscall
    cdef readonly long long direction
    cdef readonly long long error


cdef class Plaintext(Value):
    cdef readonly unsigned long long connection
    cdef readonly long long sequence
    cdef readonly long long start
    cdef readonly long long end
    cdef readonly long long position
    cdef readonly long long size
    cdef readonly long long ciphertext
    cdef readonly long long ciphertext_start
    cdef readonly long long pid
    cdef readonly long long direction


cdef class Opened(Value):
    cdef readonly object connection
    cdef readonly object time
    cdef readonly object local
    cdef readonly object remote
    cdef readonly object role
    cdef readonly object pid
    cdef readonly object late
    cdef readonly object detail


cdef class Closed(Value):
    cdef readonly object connection
    cdef readonly object time
    cdef readonly object reset
    cdef readonly object detail
    cdef readonly object unseen


cdef class Loss(Value):
    cdef readonly object records
    cdef readonly object cause


@cython.locals(made=Plaintext)
cpdef Plaintext new_plaintext(unsigned long long connection, long long sequence, long long start,
    long long end, long long position, long long size, long long ciphertext, long long pid, long
    long direction, long long ciphertext_start)

@cython.locals(made=Detail)
cpdef Detail new_detail(unsigned long long connection, long long sequence, long long start, long
    long end, long long position, long long size, long long pid, long long fd, long long syscall,
    long long direction, long long error)
