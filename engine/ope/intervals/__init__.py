"""Intervals of values and of paired differences, one method per file."""
