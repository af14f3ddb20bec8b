"""A scenario run from day to day through the real decision path, with the log that a sender would have."""
