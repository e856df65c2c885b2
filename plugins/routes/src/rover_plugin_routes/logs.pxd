# Types for the compiled form of logs.py.

cimport cython

from rover.values.access_log cimport AccessLog, new_log
from rover.values.attributes cimport Attributes, Shape, attributes_of
from rover.values.connection cimport Connection
from rover.values.records cimport Address, Process
from rover_plugin_routes.router cimport Router

cdef object SERVER
cdef str UNIMPLEMENTED


cdef class Layout:
    cdef readonly Shape longer
    cdef readonly Py_ssize_t path
    cdef readonly Py_ssize_t status
    cdef readonly Py_ssize_t host
    cdef readonly Py_ssize_t call
    cdef readonly Py_ssize_t call_status


cdef class Naming:
    cdef Router _router
    cdef dict _layouts

    cpdef AccessLog with_route(self, AccessLog log)
    @cython.locals(cells=tuple, layout=Layout)
    cdef AccessLog _with_cells(self, AccessLog log, Attributes attributes)


cdef AccessLog changed(AccessLog log, attributes)
@cython.locals(own=Address, peer=Address, process=Process)
cpdef tuple service_of(Connection connection, host)
