"""Reward models of an evaluation: how they are cross-fitted, and one from any regressor."""
