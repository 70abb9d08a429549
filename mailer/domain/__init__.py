"""Rules without I/O. Nothing here reads a file, a clock, a socket or a table."""
