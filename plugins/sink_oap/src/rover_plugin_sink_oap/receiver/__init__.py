"""A stand-in for an OAP server: takes what the sink sends, checks it, prints it."""
