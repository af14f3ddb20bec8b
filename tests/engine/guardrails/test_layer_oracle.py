"""The whole layer against the oracle: plain Python, from the catalogue's words; it must agree on every triple."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.guardrails.pack import Pack, load_pack
from tests.engine.guardrails.oracle.differ import Tally, total
from tests.engine.guardrails.oracle.million import PACKS, REPORT, million, report
from tests.engine.guardrails.oracle.trials import trials

# These only stop the start, or are switched off by null: they remove nothing, here as there.
SILENT = {"O9", "F1c", "O1b", "O2c", "O6c"}


@pytest.fixture(scope="module", params=["full", "strange"])
def tried(request: pytest.FixtureRequest) -> tuple[Pack, Tally]:
    pack = load_pack(PACKS[request.param])
    many, blocks, contacts = (24_000, 30, 160) if request.param == "full" else (9_000, 20, 90)
    return pack, total(trials(pack, many, 7, blocks=blocks, contacts=contacts))


def test_the_layer_agrees_with_the_oracle(tried: tuple[Pack, Tally]) -> None:
    """More than 30,000 (contact, action, now) triples in all, rule by rule: zero differences."""
    pack, tally = tried
    assert not tally.differ, f"{tally.differ}\n" + "\n".join(tally.cases)
    assert tally.triples >= (24_000 if pack.name == "full" else 9_000)


def test_every_rule_is_tried_on_both_sides(tried: tuple[Pack, Tally]) -> None:
    """No rule only removes, none only allows; some actions pass the full pack as a whole."""
    pack, tally = tried
    for entry in pack.rules:
        assert tally.allowed[entry.id] >= 20, entry.id
        assert (tally.removed[entry.id] >= 20) == (entry.id not in SILENT), entry.id
    if pack.name == "full":
        assert 50 < tally.sent < tally.triples


@pytest.mark.study
def test_a_million_triples(root: Path) -> None:
    """Zero differences on a million; the counts go to the docs."""
    tallies = million(1_000_000)
    (root / REPORT).write_text(report(tallies), encoding="utf-8")
    for name, tally in tallies.items():
        assert not tally.differ, f"{name}: {tally.differ}\n" + "\n".join(tally.cases)
    assert sum(tally.triples for tally in tallies.values()) >= 1_000_000
    for entry in load_pack(PACKS["full"]).rules:
        assert tallies["full"].allowed[entry.id] >= 1_000, entry.id
        assert tallies["full"].removed[entry.id] >= 1_000 or entry.id in SILENT, entry.id
