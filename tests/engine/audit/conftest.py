"""Healthy logs that many tests audit, or spoil first."""

from __future__ import annotations

import pytest

from tests.engine.audit.audited_worlds import World, healthy


@pytest.fixture(scope="session")
def logged() -> World:
    """A healthy log of a policy with a uniform slice, 12,000 rows in two months."""
    return healthy(12_000, 1)


@pytest.fixture(scope="session")
def randomised() -> World:
    """A healthy log that was decided evenly at random."""
    return healthy(12_000, 2, uniform=True)
