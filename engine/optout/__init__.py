"""Opt-outs: what a reply says, and what a provider's code means for a contact."""
