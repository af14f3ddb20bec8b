"""The engine decides and judges: catalog, features, guardrails, sampling, log, join and off-policy evaluation.

This package is internal: a program imports `tactful`, and what stands here may change (docs/development.md).
It imports nothing else of ours.
"""
