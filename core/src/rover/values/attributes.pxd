# Types for the compiled form of attributes.py. A change to a class here raises the ABI (`_abi.pxd`).

cimport cython


cdef class Shape:
    cdef readonly tuple names


cdef class Attributes:
    cdef readonly Shape shape
    cdef readonly tuple cells
    cdef dict _made

    cpdef dict _dict(self)


@cython.locals(made=Attributes)
cpdef Attributes attributes_of(Shape shape, tuple cells)
