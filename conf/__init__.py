"""Configuration: Hydra groups, mappings, catalogs and guardrail packs as yaml.

The keys of these files are public (docs/configuration.md); this package holds no code.
"""
