"""The bytes of a connection, each direction a stream, and the account of every call that moved them."""
