"""Reports: one self-contained page, pictures inline, and tidy tables."""
