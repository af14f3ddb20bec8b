"""Published figures: the shipped file, its curves and targets, and what a file of one's own may not say."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError, ParameterError
from simulator.calibration.targets.published import Published, load_published, published_from

SHIPPED = load_published()


def small() -> dict[str, Any]:
    """Two points of a curve, the second claimed as a ratio, and one assumption."""
    point = {"study": "one", "channel": "email", "quantity": "open_rate", "curve": "c", "at_unit": "sends", "why": "w"}
    return {
        "studies": {"one": {"source": "somebody", "kind": "P", "address": "https://example.org", "year": 2020}},
        "figures": [
            {**point, "id": "second", "at": 2, "value": 0.3, "ratio": True, "used": True, "tolerance": 0.1},
            {**point, "id": "first", "at": 1, "value": 0.4},
        ],
        "assumed": [{"id": "a", "channel": "sms", "quantity": "q", "value": 0.2, "low": 0.1, "high": 0.3, "why": "w"}],
    }


def test_ratio_by_hand() -> None:
    """0.3 / 0.4 = 0.75 of the first point, which lies at 1 whatever the order of the file."""
    (target,) = published_from(small()).targets()
    assert (target.value, target.unit, target.reference_at) == (pytest.approx(0.75), "ratio", 1.0)
    assert (target.key, target.tolerance, target.kind) == (("email", "open_rate", "campaign", "", 2.0), 0.1, "P")


def test_curve_is_in_order() -> None:
    at, values = published_from(small()).curve("c")
    np.testing.assert_array_equal(at, [1, 2])
    np.testing.assert_array_equal(values, [0.4, 0.3])


def test_records_carry_source_and_kind() -> None:
    second, first, assumed = published_from(small()).records()
    assert (second["id"], second["address"], second["year"], second["kind"]) == (
        "second",
        "https://example.org",
        2020,
        "P",
    )
    assert (first["used"], first["why"]) == (False, "w")
    assert (assumed["kind"], assumed["used"]) == ("assumed", False)


def test_shipped_file_is_whole() -> None:
    """Every figure has a source and a reason; what the yaml says and what is loaded are as many."""
    raw = (Path(__file__).resolve().parents[4] / "conf/moments/published.yaml").read_text()
    assert len(re.findall(r"^  - \{id:", raw, re.MULTILINE)) == len(SHIPPED.records())
    assert {row["kind"] for row in SHIPPED.records()} == {"P", "S", "V", "R", "D", "assumed"}
    assert {target.key[0] for target in SHIPPED.targets()} == {"email", "sms", "push"}


def test_claimed_clicks_and_orders_fit_together() -> None:
    """Clicks per send x orders per click = orders per send, within 5 %: the sources do not contradict each other."""
    value = {
        target.key[1]: target.value for target in SHIPPED.targets() if target.key[::2] == ("email", "campaign", None)
    }
    assert value["click_rate"] * value["order_per_click"] == pytest.approx(value["order_rate"], rel=0.05)


def test_claimed_delays_rise() -> None:
    for name in ("email_open_delay", "email_click_delay", "email_open_delay_2022", "email_click_delay_2022"):
        at, values = SHIPPED.curve(name)
        assert len(at) == 3
        assert (np.diff(values) > 0).all()


def test_claimed_frequency_ratios() -> None:
    """The shape of GetResponse: 0.79 at two a week, 0.75 at three, 0.46 at fifteen."""
    ratios = {target.key[-1]: target.value for target in SHIPPED.targets() if target.unit == "ratio"}
    assert ratios == {
        2.0: pytest.approx(0.79, abs=0.005),
        3.0: pytest.approx(0.746, abs=0.001),
        15.0: pytest.approx(0.464, abs=0.001),
    }


def test_every_address_of_the_list_is_named(shared_data: Path) -> None:
    listed = set(re.findall(r"https?://[^\s|)]+", (shared_data / "benchmarks.md").read_text()))
    named = {study.address for study in SHIPPED.studies.values()}
    # One study per figure: a second address of the same figure is not repeated.
    second = {"https://blog.duolingo.com/hi-its-duo-the-ai-behind-the-meme/"}
    assert listed - named <= second


def test_every_number_of_the_list_is_recorded(shared_data: Path) -> None:
    """Shares and decimals of the tables occur among the values, bounds, errors, complements or reasons of the file."""
    numbers: set[str] = set()
    for row in (shared_data / "benchmarks.md").read_text().split("## Suggested")[0].splitlines():
        if row.startswith("|"):
            cells = " ".join(row.split("|")[1:3])
            numbers |= set(re.findall(r"(?<![\d.,])(\d+(?:\.\d+)?) ?%|(?<![\d.])(\d+\.\d+)(?!\d| M)", cells))
    texts = {share or decimal for share, decimal in numbers}
    have = {
        round(abs(n), 8) for one in SHIPPED.figures for n in (one.value, one.low, one.high, one.se) if n is not None
    }
    have |= {round(100 * n, 6) for n in have}
    reasons = " ".join(one.why for one in SHIPPED.figures)
    assert len(texts) > 100
    assert {text for text in texts if float(text) not in have and f"{text} %" not in reasons} == set()


def test_document_shows_every_target(root: Path) -> None:
    """One line of the table per target, with its value, tolerance and kind as the file has them."""
    text = (root / "docs/calibration-targets.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*)$", text, re.MULTILINE))
    shown = {key: re.match(r"(?:\w+ )?(-?[\d.]+) \+- ([\d.]+)( %)?.*?\| ([A-Z]) \|", row) for key, row in rows.items()}
    rows_found = {key: found.groups() for key, found in shown.items() if found}
    assert set(rows_found) == {target.id for target in SHIPPED.targets()}
    for target in SHIPPED.targets():
        value, tolerance, percent, kind = rows_found[target.id]
        scale = 100 if percent else 1
        assert float(value) == pytest.approx(scale * target.value, rel=0.011, abs=1e-9)
        assert float(tolerance) == pytest.approx(scale * target.tolerance, rel=1e-6)
        assert kind == target.kind


@given(points=st.integers(2, 50))
def test_grid_sweeps_from_low_to_high(points: int) -> None:
    for one in SHIPPED.assumed:
        grid = one.grid(points)
        assert len(grid) == points
        assert (grid[0], grid[-1]) == (one.low, one.high)
        assert one.low <= one.value <= one.high


def changed(where: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    data = deepcopy(small())
    at: Any = data
    for step in where[:-1]:
        at = at[step]
    if value is ...:
        del at[where[-1]]
    else:
        at[where[-1]] = value
    return data


@pytest.mark.parametrize(
    ("where", "value", "named"),
    [
        (("figures", 0, "value"), 40.0, "fraction"),
        (("figures", 0, "value"), float("nan"), "finite"),
        (("figures", 0, "value"), ..., "tolerance"),
        (("figures", 0, "tolerance"), ..., "tolerance"),
        (("figures", 0, "tolerance"), 0.0, "tolerance"),
        (("figures", 0, "tolerance"), float("inf"), "tolerance"),
        (("figures", 1, "tolerance"), 0.1, "tolerance"),
        (("figures", 0, "se"), -1.0, "se"),
        (("figures", 0, "low"), 0.35, "low"),
        (("figures", 0, "high"), 0.25, "high"),
        (("figures", 0, "at"), ..., "at_unit"),
        (("figures", 0, "at_unit"), ..., "at_unit"),
        (("figures", 0, "curve"), "", "curve"),
        (("figures", 0, "why"), " ", "why"),
        (("figures", 0, "channel"), "fax", "fax"),
        (("figures", 0, "quantiy"), "x", "quantiy"),
        (("figures", 0, "study"), "two", "two"),
        (("figures", 0, "id"), "first", "first"),
        (("figures", 0, "id"), "a", "'a'"),
        (("figures", 1, "value"), 0.0, "ratio"),
        (("studies", "one", "kind"), "D", "address"),
        (("studies", "one", "kind"), "V", "used"),
        (("studies", "one", "kind"), "Q", "Q"),
        (("studies", "one", "address"), "", "address"),
        (("studies", "spare"), {"source": "s", "kind": "P", "address": "https://a"}, "spare"),
        (("assumed", 0, "high"), 0.15, "high"),
        (("assumed", 0, "low"), ..., "low"),
        (("figures",), "many", "figures"),
    ],
)
def test_bad_figures_are_refused(where: tuple[str | int, ...], value: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)):
        published_from(changed(where, value))


def test_one_quantity_is_claimed_once() -> None:
    data = small()
    data["figures"].append({**data["figures"][0], "id": "third"})
    with pytest.raises(ConfigError, match="claimed quantity"):
        published_from(data)


def test_a_sweep_needs_two_ends() -> None:
    data = small()
    data["assumed"][0].update(low=0.2, high=0.2)
    with pytest.raises(ConfigError, match="sweep"):
        published_from(data)
    with pytest.raises(ParameterError, match="points"):
        SHIPPED.assumed[0].grid(1)


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_unknown_curve(name: str) -> None:
    with pytest.raises(ParameterError, match="curve"):
        SHIPPED.curve(name)


@pytest.mark.parametrize("text", ["", "figures: [", "- 1", "figures: []", "\x00"])
def test_files_that_hold_no_figures(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"calibration-targets\.md"):
        load_published(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_published(tmp_path / "none.yaml")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(small()))
    assert isinstance(load_published(path), Published)
    assert load_published(path) == published_from(small())
