"""Experiments: the commands and the reports; the only layer that knows all others."""
