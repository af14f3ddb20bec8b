"""Off-policy evaluation over a stream of blocks."""
