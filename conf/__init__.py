"""Configuration: Hydra groups, mappings, catalogs and guardrail packs as yaml."""
