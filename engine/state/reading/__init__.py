"""Many contacts read at once: one query per table and batch, folded into arrays."""
