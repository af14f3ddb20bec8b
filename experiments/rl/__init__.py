"""Learners of other libraries on the simulator's environments; nothing here is needed to decide or to simulate."""
