"""The engine: catalog, features, guardrails, sampling, log, join and off-policy evaluation; imports nothing of ours."""
