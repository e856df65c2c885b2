# Types for the compiled form of sniff.py.

cimport cython


@cython.locals(opening=bytes, line=bytes)
cpdef object sniff(object data)
