"""Sets the workspace up: what the Makefile calls. No package needs any of it."""
