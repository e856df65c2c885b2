# The number of the layouts that the core's .pxd files declare. It goes up with each change to one of their classes,
# or of a function that a package may call. Compiled, it is part of whatever was compiled with these files.

cdef enum:
    NUMBER = 3
