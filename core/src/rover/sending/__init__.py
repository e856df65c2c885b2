"""What sinks that send to a server share: batches that wait, their spool, the thread that sends them.

Such a sink fills batches (`Filling`), and says how one is sent (a `Backend`, which makes a `Call` for each
attempt). An `Exporter` does the rest: nothing is sent twice that was answered for, what waits is bounded, and
the sink's thread never waits for a server.

`grpc_call` needs h2, which the core does not require: the package of a sink that uses it does.
"""
