"""Small contact files and fact files for the tests of decisions with state and limits."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.catalog import catalog_from
from engine.decide.plan import Plan
from engine.features import FeatureSchema
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from experiments.serve.decide import DecideOutput, DecideRequest, decide_with
from experiments.serve.state import record_file
from policies.peers.constant import UniformPolicy

KEY = "blue heron 04, stone 17"
NOW = datetime(2026, 11, 3, 11, 0, tzinfo=UTC)
CATALOG = catalog_from(
    {
        "name": "stateful",
        "channels": ["email", "sms"],
        "hours": ["now"],
        "arms": [{"id": "offer", "approved": True}, {"id": "news", "approved": True, "attributes": {"topic": "news"}}],
    }
)
LIMITS = """
name: tight
volume:
  - {name: all_a_day, max_per_day: 60}
  - {name: sms_a_day, max_per_day: 25, channels: [sms]}
"""


def names(first: int, last: int) -> list[str]:
    return [f"c{row}" for row in range(first, last)]


def contact_file(path: Path, contacts: Iterable[str]) -> Path:
    pq.write_table(pa.table({"contact_id": list(contacts)}), path)
    return path


def facts_of(contacts: Iterable[str]) -> list[dict[str, Any]]:
    """A profile and both consents of each contact."""
    found: list[dict[str, Any]] = []
    for name in contacts:
        at = "2026-11-01T00:00:00Z"
        found.append({"fact": "profile", "contact_id": name, "at": at, "zone": "UTC", "history_from_at": at})
        found += [
            {
                "fact": "consent",
                "contact_id": name,
                "channel": channel,
                "purpose": "promotional",
                "at": "2026-01-01T00:00:00Z",
                "source": "form",
            }
            for channel in CATALOG.channels
        ]
    return found


def fact_file(path: Path, facts: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(fact) + "\n" for fact in facts), encoding="utf-8")
    return path


def record(folder: Path, url: str, facts: Iterable[dict[str, Any]]) -> None:
    record_file(url, fact_file(folder / "facts.jsonl", facts), KEY, create=True)


def limits_file(folder: Path, text: str = LIMITS) -> str:
    (folder / "limits.yaml").write_text(text, encoding="utf-8")
    return str(folder / "limits.yaml")


def decide(
    folder: Path,
    contacts: Path,
    out: str,
    *,
    state: str | None = None,
    limits: str | None = None,
    now: datetime = NOW,
    rows: int = 64,
    **plan: Any,
) -> DecideOutput:
    made = Plan(Guardrails(load_pack(), CATALOG), UniformPolicy(), "uniform", contact_key=KEY, **plan)
    request = DecideRequest(folder, contacts, now, folder / out, KEY, state=state, limits=limits)
    return decide_with(made, FeatureSchema(features=()), request, rows)
