"""The write path: log -> Bytewax -> state."""
