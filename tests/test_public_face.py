"""`import tactful`: quick to import, every promised name there, documented, and used in an example that runs."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tactful
from tests.experiments.commands import run

MAPPING = """
name: letters
catalog: {channel: {constant: letter}, arm: {column: arm, values: [plea, thanks]}}
hold: {column: arm, values: [none], name: none}
propensity: {per_arm: {hold: 1/3, default: 1/3}}
contact: {column: donor}
decision_id: {column: donor}
feature_defaults: {source: donor database, collected_where: past gifts, customer_benefit: Fewer letters that do not fit}
features: [{name: years, type: numeric, unit: years, low: 0}]
rewards: {gave: {column: gave, low: 0, high: 1, unit: share}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands in the docstring leave: the log of a small randomised test, and a policy trained on it."""
    folder = tmp_path_factory.mktemp("face")
    generator = np.random.default_rng(5)
    arms = generator.choice(["none", "plea", "thanks"], size=900)
    chance = np.select([arms == "none", arms == "plea"], [0.2, 0.5], 0.4)
    rows = zip(arms, generator.integers(10, size=900), generator.random(900) < chance, strict=True)
    lines = [f"{donor},{arm},{years},{int(gave)}" for donor, (arm, years, gave) in enumerate(rows)]
    (folder / "letters.csv").write_text("\n".join(["donor,arm,years,gave", *lines]))
    (folder / "letters.yaml").write_text(MAPPING)
    log = folder / "log.parquet"
    run("import", "--mapping", folder / "letters.yaml", "--input", folder / "letters.csv", "--out", log)
    run("train", "--log", log, "--metric", "gave", "--out", folder / "policy")
    return folder


def test_examples_run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    failed, tried = doctest.testmod(tactful)
    assert (failed, tried > 30) == (0, True), capsys.readouterr().out


@pytest.mark.parametrize("name", tactful.__all__)
def test_every_name_is_documented_and_stands_in_an_example(name: str) -> None:
    found = getattr(tactful, name)
    assert inspect.getdoc(found)
    assert found.__module__.split(".")[0] in ("engine", "policies")
    examples = doctest.DocTestParser().get_examples(tactful.__doc__ or "")
    used = {
        node.attr for one in examples for node in ast.walk(ast.parse(one.source)) if isinstance(node, ast.Attribute)
    }
    assert name in used


def test_type_checkers_see_the_same_names(root: Path) -> None:
    """They cannot follow the table; what stands under TYPE_CHECKING must say the same, place by place."""
    tree = ast.parse((root / "tactful.py").read_text(encoding="utf-8"))
    (stub,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [(node.module, alias) for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    own = {alias.asname: (module, alias.name) for module, alias in imports}
    homes = {name: home.partition(":")[::2] for name, home in tactful.HOMES.items()}
    assert own == {name: (module, name_there or name) for name, (module, name_there) in homes.items()}


def test_import_loads_nothing_else(root: Path) -> None:
    heavy = ("numpy", "pandas", "pyarrow", "engine", "policies")
    code = (
        f"import sys; import tactful; assert not set({heavy!r}) & set(sys.modules); dir(tactful)\n"
        f"assert not set({heavy!r}) & set(sys.modules); tactful.Plan; assert 'numpy' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="no public name 'Plans'; it has: Catalog"):
        tactful.Plans  # type: ignore[attr-defined]  # noqa: B018
    assert set(tactful.__all__) <= set(dir(tactful))


def test_nothing_of_ours_imports_the_face(project_files: list[Path], root: Path) -> None:
    """It stands above all packages: who imports it from below imports in a circle."""
    packages = ("engine", "policies", "simulator", "experiments", "conf")
    sources = [path for path in project_files if path.parts[0] in packages and path.suffix == ".py"]
    inside = [path for path in sources if "import tactful" in (root / path).read_text(encoding="utf-8")]
    assert inside == []


def test_documents_name_what_is_there(project_files: list[Path], root: Path) -> None:
    """The README shows the public names outside of the examples that run."""
    pages = [path for path in project_files if path.suffix == ".md" and path.name != "CHANGELOG.md"]
    blocks = [
        block
        for path in pages
        for block in re.findall(
            r"^```python\n(.*?)^```", (root / path).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
    ]
    named = {name for block in blocks for name in re.findall(r"\btactful\.([A-Za-z_]\w*)", block)}
    assert {"Plan", "decide_batch"} <= named <= set(tactful.__all__)
