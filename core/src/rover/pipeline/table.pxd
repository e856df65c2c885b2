# Types for the compiled form of table.py.

cimport cython

from rover.values.connection cimport new_connection
from rover.values.records cimport Closed, Detail, Opened, Plaintext

from rover.pipeline.memory cimport MemoryBudget
from rover.pipeline.processes cimport Processes
from rover.pipeline.source_side cimport SourceSide
from rover.pipeline.surroundings cimport Surroundings
from rover.pipeline.tls_connection cimport TlsConnection
from rover.pipeline.totals cimport Totals
from rover.pipeline.tracked_connection cimport TrackedConnection

cdef long long CONNECTION_MEMORY


cdef class Pipeline:
    cdef readonly Totals totals
    cdef SourceSide _source
    cdef MemoryBudget _budget
    cdef Surroundings _surroundings
    cdef Processes _processes
    cdef object _epoch
    cdef Py_ssize_t _max_connections
    cdef list _idlest
    cdef dict _connections
    cdef list _sweep
    cdef TrackedConnection _newest
    cdef unsigned long long _newest_id

    @cython.locals(connection=TrackedConnection)
    cpdef opened(self, Opened opened)
    @cython.locals(connection=TrackedConnection, budget=MemoryBudget)
    cpdef data(self, Detail detail, object payload)
    @cython.locals(connection=TrackedConnection, budget=MemoryBudget)
    cdef lend(self, Detail detail, const char *memory, Py_ssize_t captured)
    @cython.locals(newest=TrackedConnection, connection=TrackedConnection)
    cdef TrackedConnection _connection_of(self, Detail detail)
    @cython.locals(connection=TlsConnection, budget=MemoryBudget)
    cpdef plaintext(self, Plaintext plaintext, object payload)
    @cython.locals(connection=TlsConnection, budget=MemoryBudget)
    cdef lend_plaintext(self, Plaintext plaintext, const char *memory, Py_ssize_t captured)
    @cython.locals(found=TrackedConnection, unknown=TrackedConnection, connection=TlsConnection)
    cdef TlsConnection _tls_connection_of(self, Plaintext plaintext)
    @cython.locals(connection=TrackedConnection)
    cpdef closed(self, Closed closed)
    @cython.locals(connection=TrackedConnection)
    cpdef tick(self, object now)
    cdef _age(self, TrackedConnection connection, object now)
    cdef TrackedConnection _add(self, TrackedConnection connection)
    @cython.locals(connection=TrackedConnection)
    cdef TrackedConnection _remove(self, object identity)
    @cython.locals(connection=TrackedConnection)
    cdef _drop(self, object identity, object now, object outcome)
    @cython.locals(connection=TrackedConnection)
    cdef _evict(self, object now)
    @cython.locals(connection=TrackedConnection, budget=MemoryBudget)
    cdef _relieve(self, object now)
    cdef object _facts(self, Opened opened)
    @cython.locals(connection=TrackedConnection)
    cdef TrackedConnection _add_unbuilt(self, Detail detail)
    cdef TrackedConnection _unknown(self, object identity, object pid, object start)
    cdef TlsConnection _encrypted(self, TrackedConnection connection, object now)
