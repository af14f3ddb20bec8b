"""Scripts that made the data which ships in `conf/`; nothing at run time needs them."""
