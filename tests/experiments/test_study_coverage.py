"""A small seeded version of the coverage study."""

from __future__ import annotations

import pytest

from experiments.study.interval_coverage import SETTINGS, coverage, table


@pytest.mark.slow
def test_intervals_cover_in_a_small_study() -> None:
    """40 clustered logs: a true 95 % interval covers at least 33 of them with a probability above 99.8 %."""
    setting = SETTINGS[4]
    rows = coverage(setting, 40)
    assert {row.estimator for row in rows} == {"ips", "snips", "dr"}
    for row in rows:
        assert row.value >= 33 / 40, row
        assert row.difference >= 33 / 40, row
    by_name = {row.estimator: row for row in rows}
    assert by_name["dr"].value_width < by_name["ips"].value_width
    assert f"| {setting.name} | dr |" in table(rows, 40)
