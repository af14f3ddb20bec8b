"""Sums over a log that any partition and any order of merges gives to the same byte."""
