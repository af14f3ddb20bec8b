"""Vowpal Wabbit: learning from logged rounds, and the compiled scorer that serves what was learnt."""
