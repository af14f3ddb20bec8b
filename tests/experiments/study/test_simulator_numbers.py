"""docs/simulator-numbers.md is what the metadata of the parts says."""

from __future__ import annotations

from pathlib import Path

from experiments.study.simulator_numbers import REPORT, SECTIONS, report
from simulator.numbers import numbers_of


def test_the_file_is_up_to_date(root: Path) -> None:
    assert (root / REPORT).read_text(encoding="utf-8") == report(), "run python -m experiments.study.simulator_numbers"


def test_every_number_has_its_row() -> None:
    text = report()
    for heading, struct in SECTIONS.items():
        section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
        for one in numbers_of(struct):
            assert f"| `{one.name}` |" in section
            assert one.kind in section


def test_rows_by_hand() -> None:
    text = report()
    assert "| `late_hours` | 72 | hours | at least 0 | assumed | a fault that is switched on |" in text
    assert "seen/email (1, 0.215) (6, 0.506) (24, 0.73) (168, 1)" in text
    assert "| `step_hours` | 24 | hours | in (0, 24] | definition | one decision a day |" in text
