"""A small mapping, and a way to import text with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from engine.mapping.dialect import mapping_from
from engine.mapping.importer import ImportReport, import_log

Mapped = dict[str, Any]


def small() -> Mapped:
    """Two arms and hold, one feature of each type, one reward."""
    return {
        "name": "small",
        "catalog": {"channel": {"constant": "email"}, "arm": {"column": "arm", "values": ["A", "B"]}},
        "hold": {"axis": "arm", "values": ["none"]},
        "propensity": {"column": "p"},
        "decision_id": {"column": "id"},
        "contact": {"column": "who"},
        "cluster": "contact",
        "decided_at": {"column": "at", "format": "iso"},
        "feature_defaults": {
            "source": "shop",
            "collected_where": "checkout",
            "customer_benefit": "Fewer messages that do not fit.",
            "unit": "years",
            "missing": ["?"],
        },
        "features": [{"name": "age", "type": "numeric", "low": 0}, {"name": "plan", "type": "categorical"}],
        "rewards": {"click": {"column": "click", "low": 0, "high": 1}},
    }


HEADER = "id,who,at,arm,p,age,plan,click,extra"
GOOD = "d1,ann,2024-03-01T10:00:00+01:00,A,0.5,31,1,1,x"


@pytest.fixture
def mapped() -> Mapped:
    return small()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[ImportReport, list[dict[str, Any]]]]:
    """Import lines of text with a mapping; gives the report and the rows of the log."""

    def do(mapping: Mapped, *lines: str, name: str = "log.csv") -> tuple[ImportReport, list[dict[str, Any]]]:
        source, out = tmp_path / name, tmp_path / "out.parquet"
        source.write_text("\n".join(lines) + "\n", encoding="utf-8")
        report = import_log(mapping_from(mapping), source, out, contact_key="key", show_values=True)
        return report, pq.read_table(out).to_pylist()

    return do


@pytest.fixture
def good() -> tuple[str, str]:
    """The header of the small log, and a row without fault."""
    return HEADER, GOOD
