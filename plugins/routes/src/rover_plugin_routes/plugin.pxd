# Types for the compiled form of plugin.py.

cimport cython

from rover_plugin_routes.logs cimport Naming
