"""The estimators of a policy's value, each a ratio of two sums over the rows of a log."""
