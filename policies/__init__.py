"""Policies: each gives a distribution over the eligible actions; learning is behind `policies.vw`."""
