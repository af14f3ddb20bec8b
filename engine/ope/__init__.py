"""Off-policy evaluation over a stream of batches."""
