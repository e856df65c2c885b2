# Types for the compiled form of segments.py.

cimport cython


@cython.locals(cut=bint, parts=list, segments=list, part=str)
cpdef tuple split(str path)
