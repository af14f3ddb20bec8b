"""Guardrails: one rule, one file; numbers from a versioned pack; every removal explained."""
