"""Policies over modular content: learnt by features of blocks, decided slot by slot, with exact joint propensities."""
