# Types for the compiled form of surroundings.py.

from rover.pipeline.delivery cimport Delivery
from rover.pipeline.memory cimport MemoryBudget
from rover.pipeline.recognition cimport Recogniser
from rover.pipeline.totals cimport Totals


cdef class Surroundings:
    cdef readonly Recogniser recogniser
    cdef readonly object decoders
    cdef readonly Delivery delivery
    cdef readonly object source
    cdef readonly MemoryBudget budget
    cdef readonly object processes
    cdef readonly Totals totals
