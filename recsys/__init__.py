"""What the words mean and how a block is decided: no sockets, no engine."""
