"""The whole layer against the oracle: plain Python, from the catalogue's words; it must agree on every triple."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.guardrails.pack import Pack, load_pack
from tests.engine.guardrails.oracle.differ import Tally, total
from tests.engine.guardrails.oracle.million import PACKS, REPORT, million, report, trial
from tests.engine.guardrails.oracle.trials import trials

# These only stop the start, or are switched off by null: they remove nothing, here as there.
SILENT = {"O9", "F1c", "O1b", "O2c", "O6c"}


@pytest.fixture(scope="module", params=["full", "strange"])
def tried(request: pytest.FixtureRequest) -> tuple[Pack, Tally]:
    pack = load_pack(PACKS[request.param])
    many, blocks, contacts = (24_000, 30, 160) if request.param == "full" else (9_000, 20, 90)
    return pack, total(trials(pack, many, 7, blocks=blocks, contacts=contacts))


@pytest.mark.slow
def test_the_layer_agrees_with_the_oracle(tried: tuple[Pack, Tally]) -> None:
    """More than 30,000 (contact, action, now) triples in all, rule by rule: zero differences."""
    pack, tally = tried
    assert not tally.differ, f"{tally.differ}\n" + "\n".join(tally.cases)
    assert tally.triples >= (24_000 if pack.name == "full" else 9_000)


@pytest.mark.slow
def test_every_rule_is_tried_on_both_sides(tried: tuple[Pack, Tally]) -> None:
    """No rule only removes, none only allows; some actions pass the full pack as a whole."""
    pack, tally = tried
    for entry in pack.rules:
        assert tally.allowed[entry.id] >= 20, entry.id
        assert (tally.removed[entry.id] >= 20) == (entry.id not in SILENT), entry.id
    if pack.name == "full":
        assert 50 < tally.sent < tally.triples


@pytest.mark.parametrize("pack", ["default", "journeys", "permission"])
def test_the_short_packs_agree_too(pack: str) -> None:
    """With the kill switch that nobody mentions (O11) and arms that wait for their days (O14)."""
    tally = total(trials(load_pack(PACKS[pack]), 1_500, 11, blocks=4, contacts=60))
    assert not tally.differ, f"{tally.differ}\n" + "\n".join(tally.cases)
    for entry in load_pack(PACKS[pack]).rules:
        assert tally.removed[entry.id] > 0, entry.id
        assert tally.allowed[entry.id] > 0, entry.id


@pytest.mark.parametrize("name", ["files full", "files journeys", "reserved full", "reserved strange"])
def test_files_and_reservations_agree(name: str) -> None:
    """Zones, overlays and unknown details as they are written in files; the caps inside the reservation."""
    tally = trial(name, 1_500, 0)
    assert not tally.differ, f"{tally.differ}\n" + "\n".join(tally.cases)
    assert tally.triples >= 1_500
    assert 0 < tally.sent < tally.triples


@pytest.mark.parametrize("name", ["misspelt full", "misspelt journeys"])
def test_a_misspelt_name_opens_nothing(name: str) -> None:
    """Refused, or no looser than what was meant."""
    tally = trial(name, 1_000, 0)
    assert not tally.differ, f"{tally.differ}\n" + "\n".join(tally.cases)
    assert tally.refused >= 1


@pytest.mark.study
def test_a_million_triples(root: Path, request: pytest.FixtureRequest) -> None:
    """Zero differences on a million; the counts go to the docs."""
    if request.config.getoption("-m") != "study":
        pytest.skip("ten minutes of two cores: only when it is asked for, with -m study")
    tallies = million(1_000_000, processes=2)
    (root / REPORT).write_text(report(tallies), encoding="utf-8")
    for name, tally in tallies.items():
        assert not tally.differ, f"{name}: {tally.differ}\n" + "\n".join(tally.cases)
    assert sum(tally.triples for tally in tallies.values()) >= 1_000_000
    for entry in load_pack(PACKS["full"]).rules:
        assert tallies["full"].allowed[entry.id] >= 1_000, entry.id
        assert tallies["full"].removed[entry.id] >= 1_000 or entry.id in SILENT, entry.id
