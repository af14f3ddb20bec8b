"""Scripts that made the data which ships; nothing at run time needs them."""
