"""Policies give a distribution over the eligible actions; learning is behind `policies.vw`.

This package is internal: a program imports `tactful`, and what stands here may change (docs/development.md).
"""
