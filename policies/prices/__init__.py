"""Budgets of messages and money as prices: fixed before sampling, so that propensities stay exact (docs/prices.md)."""
