"""Simulated contacts and logs are the ground truth for what no real log can show.

This package is internal: a program imports `tactful`, and what stands here may change (docs/development.md).
Its Gymnasium environments are public by their names (docs/environments.md).
"""
