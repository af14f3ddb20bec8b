"""`tactful catalog preview`: assemblies by arm, by block and in order, and what a new catalog changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.experiments.commands import refused, run, screen

BEFORE = """
name: spring
channels: [email, sms]
hours: [9, 18]
modular:
  offer: incentive
  slots:
    - id: headline
      fallback: plain
      blocks:
        - {id: plain, status: approved}
        - {id: price, status: draft}
    - id: incentive
      fallback: none
      blocks:
        - {id: none, status: approved}
        - {id: twenty, status: approved, discount_depth: 0.2, channels: [email]}
"""
AFTER = BEFORE.replace("price, status: draft", 'price, status: approved, version: "3", approved_by: kim')


@pytest.fixture
def catalogs(tmp_path: Path) -> tuple[Path, Path]:
    before, after = tmp_path / "before.yaml", tmp_path / "after.yaml"
    before.write_text(BEFORE)
    after.write_text(AFTER)
    return before, after


def test_the_reference_catalog_is_shown_in_order() -> None:
    """4 x 4 x 3 x 3 x 4 = 576 assemblies, of which those with the barred pair, 4 x 3 x 3 = 36, must not be sent."""
    out = run("catalog", "preview", "modular", "--most", 3)
    assert (out["assemblies"], out["sendable"], len(out["shown"])) == (576, 576 - 36, 3)
    first = out["shown"][0]
    assert first["arm"] == "headline_plain+proof_none+image_none+action_open+incentive_none"
    assert [one["slot"] for one in first["blocks"]] == ["headline", "proof", "image", "call_to_action", "incentive"]


def test_blocks_narrow_what_is_shown() -> None:
    shown = run("catalog", "preview", "modular", "--block", "headline_trust", "--block", "incentive_20")["shown"]
    assert len(shown) == 10
    assert not any(one["sendable"] for one in shown)
    assert all({"headline_trust", "incentive_20"} <= {block["block"] for block in one["blocks"]} for one in shown)


def test_what_changed_is_said_on_the_screen(catalogs: tuple[Path, Path]) -> None:
    before, after = catalogs
    text = screen("catalog", "preview", after, "--arm", "price+twenty", "--before", before)
    assert "price+twenty: may be sent" in text
    assert "channels: email; locale: any; discount: 0.2" in text
    assert "headline: price (draft) became price version 3 (approved by kim)" in text
    assert "4 of 4 assemblies may be sent" in text
    assert "price+none: must not be sent" in screen("catalog", "preview", before, "--arm", "price+none")
    out = run("catalog", "preview", after, "--arm", "plain+none", "--arm", "price+none", "--before", before)
    assert [one["arm"] for one in out["shown"]] == ["plain+none", "price+none"]
    assert out["shown"][1]["blocks"][0]["approved_by"] == "kim"
    assert len(out["changes"]) == 1


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (2, ("demo",), "modular"),
        (2, ("modular", "--block", "nobody"), "nobody"),
        (2, ("modular", "--most", 0), "at least 1"),
        (2, ("modular", "--arm", "a", "--block", "proof_none"), "without --arm"),
        (3, ("modular", "--arm", "headline_plain"), "no arm 'headline_plain'"),
        (4, ("nonsense",), "there is no catalog 'nonsense'"),
    ],
)
def test_what_cannot_be_shown_is_refused(code: int, words: tuple[object, ...], said: str) -> None:
    assert said in refused(code, "catalog", "preview", *words)[0]
