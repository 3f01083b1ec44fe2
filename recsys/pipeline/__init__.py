"""How a block is decided: candidates -> filter -> score -> rank -> mix, on arrays of item rows."""
