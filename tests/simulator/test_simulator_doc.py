"""docs/simulator.md says what is: its examples run, and it names every key, use case, fault and input."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from simulator.scenario import PARTS, ScenarioSpec
from simulator.world.timing import Trigger
from tests.simulator.world.test_inputs import FULL
from tests.simulator.worlds import FAULTS, USE_CASES


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / "docs" / "simulator.md").read_text(encoding="utf-8")


def test_the_examples_run(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In small: fewer contacts and days."""
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks[:2]:
        small = block.replace("10_000", "300").replace("5_000", "150").replace("steps=20", "steps=2")
        exec(compile(small, "docs/simulator.md", "exec"), names)
    assert "ChannelHealth" in capsys.readouterr().out
    own = blocks[2].replace("mine.response:Flat", "tests.simulator.own_parts:FlatResponse").replace('"mine"', '"tests"')
    exec(compile(own, "docs/simulator.md", "exec"), names)


@pytest.mark.parametrize(
    "names",
    [
        ScenarioSpec.__struct_fields__,
        Trigger.__struct_fields__,
        USE_CASES,
        FAULTS,
        tuple(PARTS),
        tuple(sorted(FULL)),
    ],
    ids=["keys", "trigger", "use cases", "faults", "parts", "inputs"],
)
def test_everything_is_named(text: str, names: tuple[str, ...]) -> None:
    missing = [name for name in names if f"`{name}`" not in text and f" {name} " not in text]
    assert missing == []
