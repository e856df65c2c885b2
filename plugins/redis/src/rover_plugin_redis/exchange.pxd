# Types for the compiled form of exchange.py.

from rover_plugin_redis.pairing cimport Command


cpdef object exchange_of(
    Command command, object now, object outcome, long long size, object error, str database, bint keys)
