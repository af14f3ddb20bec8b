"""Limits on the whole set of sends: volume, budget, average depth, ramp."""
