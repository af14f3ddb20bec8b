"""Arithmetic whose results do not depend on the machine: sums, moments, products and money."""
