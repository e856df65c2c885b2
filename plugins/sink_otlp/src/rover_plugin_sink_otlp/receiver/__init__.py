"""A stand-in for a receiver of OTLP: takes what the sink sends, by gRPC and by HTTP, and prints it."""
