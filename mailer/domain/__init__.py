"""Rules without I/O: nothing here reads a file, a clock, a socket or a table."""
