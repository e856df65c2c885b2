# Types for the compiled form of capture_file.py.


cdef class CaptureFile:
    cdef readonly bint ended
    cdef readonly bint idle
    cdef str _name
    cdef str _path
    cdef object _stream
    cdef object _reader
    cdef bytes _first
