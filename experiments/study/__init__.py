"""Long statistical studies: each module writes a table into `docs/`; `make study` runs them all."""
