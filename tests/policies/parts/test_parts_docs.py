"""docs/parts.md and conf/learner/parts.yaml: every key with the default that the class has."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from engine.names import known_name
from policies.parts.config import PartsConfig
from tests.policies.parts.parts_worlds import learnt, log

# The segments of `safety` have defaults of their own, those of conf/segments.
DEFAULTS = {
    name: value for name, value in msgspec.json.decode(msgspec.json.encode(PartsConfig())).items() if name != "segments"
}


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "parts.md").read_text(encoding="utf-8")


def test_every_key_and_default_is_documented(page: str) -> None:
    _, _, table = page.partition("\n## Keys\n")
    rows = re.findall(r"^\| `(\w+)` \| `(.*?)` \|", table.partition("\n## ")[0], re.MULTILINE)
    assert [name for name, _ in rows] == list(DEFAULTS)
    assert {name: yaml.safe_load(shown) for name, shown in rows} == DEFAULTS


def test_the_yaml_names_every_default(root: Path) -> None:
    written = yaml.safe_load((root / "conf" / "learner" / "parts.yaml").read_text(encoding="utf-8"))
    assert written["parts"] == DEFAULTS


@pytest.mark.parametrize("command", ["train", "backtest", "ablate", "simulate"])
def test_parts_are_the_default(command: str, root: Path) -> None:
    written = yaml.safe_load((root / "conf" / f"{command}.yaml").read_text(encoding="utf-8"))
    assert {"learner": "parts"} in written["defaults"]


def test_what_the_manifest_says_is_documented(page: str) -> None:
    _, _, said = page.partition("\n## What the folder says\n")
    summary = learnt(log(800)).state.summary()
    for name in {*summary, *summary["parts"]["chance"]} - {"parts"}:
        assert known_name(name, re.findall(r"`(\w+)`", said), owner="docs/parts.md", parameter="key") == name
