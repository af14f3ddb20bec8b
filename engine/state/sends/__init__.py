"""Sends from promise to end: the caps that they must fit, their reservations, and the decisions that made them."""
