# Types for the compiled form of surroundings.py.

from rover.pipeline.decoders cimport Decoders
from rover.pipeline.delivery cimport Delivery
from rover.pipeline.memory cimport MemoryBudget
from rover.pipeline.outbox cimport Outbox
from rover.pipeline.processes cimport Processes
from rover.pipeline.recognition cimport Recogniser
from rover.pipeline.source_side cimport SourceSide
from rover.pipeline.totals cimport Totals


cdef class Surroundings:
    cdef readonly Recogniser recogniser
    cdef readonly Decoders decoders
    cdef readonly Delivery delivery
    cdef readonly Outbox outbox
    cdef readonly SourceSide source
    cdef readonly MemoryBudget budget
    cdef readonly Processes processes
    cdef readonly Totals totals
