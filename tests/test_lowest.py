"""The lock files against the ranges in pyproject.toml: the lowest set is the lowest, the tested set lies within."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

LOCKS = ("run", "dev", "lowest")
EXTRAS = {
    "run": ("fast",),
    "dev": ("fast", "postgres", "sklearn", "test", "dev"),
    "lowest": ("fast", "postgres", "sklearn", "test"),
}
# The one upper bound, with its reason in docs/dependencies.md.
BOUNDED = {"hydra-core"}


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def required(project: dict, lock: str) -> dict[str, Requirement]:
    """The direct requirements that a lock file must hold."""
    lines = list(project["dependencies"])
    for extra in EXTRAS[lock]:
        lines += project["optional-dependencies"][extra]
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(item.name): item for item in requirements if item.name != project["name"]}


def entries(root: Path, lock: str) -> list[list[str]]:
    """The logical lines of a lock file: the pin, then its hashes."""
    text = (root / "lock" / f"{lock}.txt").read_text(encoding="utf-8")
    lines = [line for line in text.replace("\\\n", "\0").splitlines() if line and not line.lstrip().startswith("#")]
    return [[part.strip() for part in line.split("\0")] for line in lines]


def pinned(root: Path, lock: str) -> dict[str, set[Version]]:
    """Name -> versions: several where the marker differs by Python version."""
    pins: dict[str, set[Version]] = {}
    for line, *_ in entries(root, lock):
        requirement = Requirement(line)
        (pin,) = requirement.specifier
        pins.setdefault(canonicalize_name(requirement.name), set()).add(Version(pin.version))
    return pins


def floor(requirement: Requirement) -> Version:
    (lowest,) = [Version(item.version) for item in requirement.specifier if item.operator == ">="]
    return lowest


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_holds_exact_pins_and_no_addresses(lock: str, root: Path) -> None:
    text = (root / "lock" / f"{lock}.txt").read_text(encoding="utf-8")
    pins = [line for line, *_ in entries(root, lock)]
    assert pins
    assert [line for line in pins if not re.fullmatch(r"[a-z0-9-]+(\[[a-z]+\])?==[\w.]+( ; .+)?", line)] == []
    assert "://" not in text
    assert "make lock" in text.splitlines()[1]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_its_hashes(lock: str, root: Path) -> None:
    """With a hash for each, pip refuses any other file; with one missing, it would refuse all."""
    found = entries(root, lock)
    without = [line for line, *hashes in found if not hashes]
    assert without == []
    options = [option for _, *hashes in found for option in hashes]
    assert [option for option in options if not re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", option)] == []


def test_a_changed_hash_stops_the_installation(root: Path, tmp_path: Path) -> None:
    """What `make` runs verifies: the same line with another hash is refused, whatever the index serves."""
    line, *hashes = next(entry for entry in entries(root, "run") if entry[0].startswith("tzdata=="))
    (tmp_path / "ours.txt").write_text(" ".join([line, *hashes]), encoding="utf-8")
    (tmp_path / "foreign.txt").write_text(f"{line} --hash=sha256:{'0' * 64}", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(tmp_path / "d"), "--requirement"]
    if importlib.util.find_spec("pip") is None:
        pytest.skip("this environment has no pip")
    if subprocess.run([*pip, str(tmp_path / "ours.txt")], capture_output=True, check=False).returncode:
        pytest.skip("no package index can be reached")
    refused = subprocess.run([*pip, str(tmp_path / "foreign.txt")], capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "HASHES" in refused.stderr


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_lies_within_the_ranges(lock: str, root: Path, project: dict) -> None:
    pins = pinned(root, lock)
    outside = {
        name: (str(requirement), sorted(map(str, pins.get(name, set()))))
        for name, requirement in required(project, lock).items()
        if name not in pins or not all(requirement.specifier.contains(version) for version in pins[name])
    }
    assert outside == {}


def test_lowest_lock_is_at_the_floor(root: Path, project: dict) -> None:
    """What runs under `make smoke-lowest` is what pyproject.toml allows, not something newer."""
    pins = pinned(root, "lowest")
    above = {
        name: (str(requirement), sorted(map(str, pins[name])))
        for name, requirement in required(project, "lowest").items()
        if pins[name] != {floor(requirement)}
    }
    assert above == {}


def test_development_set_contains_the_tested_set(root: Path) -> None:
    """`make demo` and `make test` share one environment: a version may not change under the demo."""
    run, development = pinned(root, "run"), pinned(root, "dev")
    assert {name: versions for name, versions in run.items() if development.get(name) != versions} == {}


def test_ranges_stay_open_upwards(project: dict) -> None:
    """An upper bound of ours blocks a user's other packages for no known reason."""
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    bounded = {
        requirement.name
        for requirement in map(Requirement, lines)
        if any(item.operator not in {">=", "!="} for item in requirement.specifier)
    }
    assert bounded == BOUNDED


def test_every_dependency_is_explained(root: Path, project: dict) -> None:
    text = (root / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    names = {Requirement(line).name.lower() for line in lines} - {project["name"]}
    assert {name for name in names if f"`{name}`" not in text} == set()
