"""What ships in `conf/` is named, or a file is given: a slip is told with the nearest name and the list of all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.files.shipped import read_yaml, shipped_names
from engine.guardrails.pack import load_pack
from engine.limits.limit_set import load_limits
from engine.mapping.dialect import load_mapping
from experiments.serve.guardrails import catalog_named, features_named
from simulator.scenario import load_scenario

KINDS: dict[str, tuple[Callable[[str], Any], str]] = {
    "guardrails": (load_pack, "default"),
    "limits": (load_limits, "demo"),
    "mapping": (load_mapping, "hillstrom"),
    "catalog": (catalog_named, "modular"),
    "features": (features_named, "simulated"),
    "scenario": (load_scenario, "newsletter"),
}


@pytest.mark.parametrize("group", KINDS)
@pytest.mark.parametrize("slip", ["swapped", "capital", "left out", "a yaml of that name"])
def test_a_slip_names_the_nearest_and_all(group: str, slip: str) -> None:
    load, name = KINDS[group]
    slips = {
        "swapped": name[:-2] + name[-1] + name[-2],
        "capital": name.upper(),
        "left out": name[:2] + name[3:],
        "a yaml of that name": f"{name}.yaml",
    }
    with pytest.raises(ConfigError) as caught:
        load(slips[slip])
    assert slips[slip] in caught.value.message
    assert "Errno" not in caught.value.message
    assert caught.value.hint.startswith(f"did you mean {name!r}? ")
    assert all(one in caught.value.hint for one in shipped_names(group))


def test_files_are_told_apart_from_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("a: 1", encoding="utf-8")
    (tmp_path / "default").write_text("a: 2", encoding="utf-8")
    (tmp_path / "plain").write_text("a: 3", encoding="utf-8")
    (tmp_path / "broken.yaml").write_text("a: [1\n", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    assert read_yaml("guardrails", "mine.yaml", what="pack") == {"a": 1}
    assert read_yaml("guardrails", "plain", what="pack") == {"a": 3}
    assert read_yaml("guardrails", "default", what="pack")["name"] == "default"
    for name, why in (
        ("broken.yaml", "line 2, column 1"),
        ("folder", "Is a directory"),
        ("none/mine.yaml", "No such file or directory"),
    ):
        with pytest.raises(ConfigError) as caught:
            read_yaml("guardrails", name, what="pack")
        assert caught.value.message.startswith(f"pack {name!r} cannot be read: {why}")
        assert "unicode string" not in caught.value.message
