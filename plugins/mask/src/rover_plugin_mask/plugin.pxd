# Types for the compiled form of plugin.py.

cimport cython

from rover_plugin_mask.logs cimport Masking
