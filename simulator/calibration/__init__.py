"""Fitting the simulator's free numbers to published figures and randomised data, and saying how well they are met."""
