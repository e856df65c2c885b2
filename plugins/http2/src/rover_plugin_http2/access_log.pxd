# Types for the compiled form of access_log.py.

cpdef access_log(connection, stream, tuple details)
