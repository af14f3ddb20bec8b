"""Who may import whom, read from the source itself; the direction among our packages is import-linter's contract."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

PACKAGES = ("engine", "policies", "simulator", "experiments", "conf")
WALL = Path("policies/vw/wall.py")
# Import names that differ from the distribution's name.
DISTRIBUTION = {
    "sb3_contrib": "sb3-contrib",
    "hydra": "hydra-core",
    "omegaconf": "hydra-core",
    "yaml": "pyyaml",
    "hydra_plugins": "hydra-core",
    "sklearn": "scikit-learn",
}


def imported(source: str) -> set[str]:
    """Top-level names of every absolute import in a file, wherever it stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Call) and _is_import_call(node):
            names.add(str(node.args[0].value).partition(".")[0])  # type: ignore[attr-defined]
    return names


def _is_import_call(node: ast.Call) -> bool:
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    literal = bool(node.args) and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    return called in {"import_module", "__import__"} and literal


@pytest.fixture(scope="module")
def shipped(project_files: list[Path], root: Path) -> dict[Path, set[str]]:
    sources = [path for path in project_files if path.parts[0] in PACKAGES and path.suffix == ".py"]
    return {path: imported((root / path).read_text(encoding="utf-8")) for path in sources}


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import a.b as c", {"a"}),
        ("def f():\n    from d.e import g", {"d"}),
        ("from . import sibling", set()),
        ("importlib.import_module('h.i')", {"h"}),
        ("__import__('j')", {"j"}),
        ("text = 'import k'", set()),
    ],
)
def test_imported_sees_every_form(source: str, names: set[str]) -> None:
    assert imported(source) == names


def test_only_the_wall_imports_vowpal_wabbit(shipped: dict[Path, set[str]]) -> None:
    assert {path for path, names in shipped.items() if "vowpalwabbit" in names} == {WALL}


def test_tests_reach_vowpal_wabbit_through_the_wall_or_beside_it(project_files: list[Path], root: Path) -> None:
    """Parity with VW's own predictions is tested under tests/policies/vw and in the benchmarks, nowhere else."""
    sources = [path for path in project_files if path.parts[0] == "tests" and path.suffix == ".py"]
    outside = [
        path
        for path in sources
        if "vowpalwabbit" in imported((root / path).read_text(encoding="utf-8"))
        and path.parts[1] not in {"policies", "benchmarks"}
    ]
    assert outside == []


def test_every_import_is_declared(shipped: dict[Path, set[str]], project: dict) -> None:
    """A package that is there only because another one brings it would vanish with that one's next version."""
    declared = list(project["project"]["dependencies"])
    for extra, requirements in project["project"]["optional-dependencies"].items():
        if extra not in {"dev", "test"}:
            declared += requirements
    known = {re.split(r"[\[<>=!~ ]", requirement)[0].lower() for requirement in declared}
    undeclared = {
        (str(path), name)
        for path, names in shipped.items()
        for name in names - set(PACKAGES) - set(sys.stdlib_module_names)
        if DISTRIBUTION.get(name, name).lower() not in known
    }
    assert undeclared == set()


def test_import_linter_knows_every_package(project: dict) -> None:
    config = project["tool"]["importlinter"]
    assert set(config["root_packages"]) == set(PACKAGES)
    layers = next(contract for contract in config["contracts"] if contract["type"] == "layers")
    assert layers["layers"] == ["experiments", "policies | simulator", "engine"]
    wall = next(contract for contract in config["contracts"] if contract["type"] == "forbidden")
    assert set(wall["source_modules"]) == set(PACKAGES)
    assert wall["ignore_imports"] == ["policies.vw.wall -> vowpalwabbit"]
