"""Nothing ships that no command, environment, study, public name or documented Python module reaches.

Two graphs are walked: modules by their imports, and top-level functions and classes by who names them. A name counts as
used where code that is reached itself names it, in its own module or through an import.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

PACKAGES = ("engine", "policies", "simulator", "experiments")
# What runs by itself: the face, commands, studies, scripts that make shipped data, environments that Gymnasium finds.
STARTS = (
    *("tactful", "experiments.cli", "experiments.study", "experiments.shipped_data", "simulator.envs"),
    # The command that writes the packs' schema anew.
    "engine.guardrails.lint.schema",
)
# Modules for Python alone, with the page that shows how they are called; their public names count as used where the
# page tells of them.
DOCUMENTED = {
    "engine.log.sql": "docs/data-flow.md",
    "engine.ope.sequences": "docs/evaluation-beyond.md",
    "engine.ope.slates": "docs/evaluation-beyond.md",
    "engine.ope.uplift": "docs/evaluation-beyond.md",
    "engine.records.docs": "docs/schema.md",
    "engine.state.sends.caps": "docs/state.md",
    "policies.content.slates": "docs/modular-content.md",
    "policies.vw.merging": "docs/policies.md",
    "simulator.calibration.targets": "docs/calibration-targets.md",
    "simulator.truth": "docs/truth.md",
}
# Modules and names (module:name) that nothing reaches, each with its reason; what is reached again leaves the list.
TRIED_ALONE = "the form for whole arrays or one row, by which tests try what the batches do"
KERNEL = "a kernel is found by its name (`policies.vw.scoring.kernels.run`)"
GAMMA_GAMMA = "a fit of basket values that no target of the calibration uses"
EXCEPTIONS = {
    "engine.guardrails.recheck:recheck": TRIED_ALONE,
    "engine.ope.quantiles:quantiles": TRIED_ALONE,
    "engine.sampling:sample": TRIED_ALONE,
    "experiments.demo.run:shipped_catalog": "tests read shipped catalogs by it",
    "experiments.demo.run:shipped_features": "tests read shipped feature schemas by it",
    "policies.content.jitted:choose_rows": KERNEL,
    "policies.content.policy:UniformBlocks": "the uniform policy over blocks with which tests log modular campaigns",
    "policies.vw.scoring.jitted:choose_part_rows": KERNEL,
    "policies.vw.scoring.jitted:choose_rows": KERNEL,
    "policies.vw.scoring.jitted:score_part_rows": KERNEL,
    "policies.vw.scoring.jitted:score_rows": KERNEL,
    "simulator.calibration.targets.baskets:GammaGamma": GAMMA_GAMMA,
    "simulator.calibration.targets.baskets:fit_gamma_gamma": GAMMA_GAMMA,
    "simulator.calibration.targets.baskets:gamma_gamma_log_likelihood": GAMMA_GAMMA,
    "simulator.world.attention:steady_stock": TRIED_ALONE,
    "simulator.world.sender:CampaignStep": "what `campaign` yields; tests walk a sender's days by it",
    "simulator.world.sender:campaign": "tests walk a sender's days by it",
    "simulator.world.sender:nothing_on": "tests make empty days by it",
    "policies.horizon.maturity": "docs/long-horizon.md describes it for young decisions; the loop waits for the window",
}

Node = tuple[str, str]  # a module, and a top-level name in it; "" is the module's own body
T = TypeVar("T")


def closure(starts: Iterable[T], edges: Mapping[T, set[T]]) -> set[T]:
    """Everything that can be reached from `starts`, themselves among it."""
    seen: set[T] = set()
    waiting = list(starts)
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            waiting += edges.get(one, set())
    return seen


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def under(modules: Iterable[str], *places: str) -> set[str]:
    return {module for module in modules if any(module == place or module.startswith(f"{place}.") for place in places)}


def text_references(tree: ast.AST, modules: set[str]) -> Iterator[Node]:
    """Texts that name a module of ours, alone or as `module:name`: entry points and the table of the public names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            module, _, name = node.value.partition(":")
            if module in modules:
                yield module, name


def imports(tree: ast.Module, modules: set[str]) -> dict[str, Node]:
    """Local name -> what it stands for: a name of a module, or a module itself ("")."""
    found: dict[str, Node] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: (alias.name, "") for alias in node.names if alias.name in modules}
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found[alias.asname or alias.name] = (inner, "") if inner in modules else (node.module, alias.name)
    return found


def module_edges(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """Module -> the modules that it imports, with the packages in which those lie."""
    modules = set(trees)
    edges = {}
    for module, tree in trees.items():
        targets = {target for target, _ in (*imports(tree, modules).values(), *text_references(tree, modules))}
        parents = {
            ".".join(target.split(".")[:depth]) for target in targets for depth in range(1, target.count(".") + 1)
        }
        edges[module] = (targets | parents) - {module}
    # Rules are found by the names of their files.
    edges["engine.guardrails.registry"] |= under(modules, "engine.guardrails.rules")
    return edges


def module_meant(node: ast.expr, known: Mapping[str, Node], modules: set[str]) -> str:
    """The module that an expression is: its own name, or `import_module("its.name")`; else ""."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        return next((target for target, _ in text_references(node, modules)), "")
    target, name = known.get(ast.unparse(node), ("", "")) if isinstance(node, ast.Name | ast.Attribute) else ("", "")
    return "" if name else target


def names_of(tree: ast.Module) -> set[str]:
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def name_edges(trees: Mapping[str, ast.Module]) -> dict[Node, set[Node]]:
    """Top-level function or class, or module body -> the top-level names that it uses."""
    modules = set(trees)
    edges: dict[Node, set[Node]] = {}
    for module, tree in trees.items():
        known = imports(tree, modules)
        own = names_of(tree)
        for top in tree.body:
            # What is decorated is handed to somebody when the module is loaded: a command, a rule, a fixture.
            owner = (module, top.name) if isinstance(top, ast.FunctionDef | ast.ClassDef) else (module, "")
            uses = edges.setdefault(owner, set())
            if isinstance(top, ast.FunctionDef) and top.decorator_list:
                edges.setdefault((module, ""), set()).add(owner)
            for node in ast.walk(top):
                if isinstance(node, ast.Name) and node.id in known:
                    uses.add(known[node.id])
                elif isinstance(node, ast.Name) and node.id in own:
                    uses.add((module, node.id))
                elif isinstance(node, ast.Attribute) and (target := module_meant(node.value, known, modules)):
                    uses.add((target, node.attr))
                elif isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
                    target = module_meant(node.args[0], known, modules)
                    uses |= {(target, name) for name in names_of(trees[target])} if target else set()
            uses.update(text_references(top, modules))
    # The face hands out every name of its table.
    edges["tactful", ""] |= set(imports(trees["tactful"], modules).values())
    return edges


@pytest.fixture(scope="module")
def trees(project_files: list[Path], root: Path) -> dict[str, ast.Module]:
    sources = [path for path in project_files if path.suffix == ".py" and path.parts[0] in (*PACKAGES, "tactful.py")]
    return {module_name(path): ast.parse((root / path).read_text(encoding="utf-8")) for path in sources}


@pytest.fixture(scope="module")
def reached(trees: dict[str, ast.Module]) -> set[str]:
    return closure(under(trees, *STARTS, *DOCUMENTED), module_edges(trees))


def test_every_module_is_reached(trees: dict[str, ast.Module], reached: set[str]) -> None:
    assert set(trees) - reached == {name for name in EXCEPTIONS if ":" not in name}


def test_documented_modules_stand_in_their_page(root: Path) -> None:
    words = {page: re.findall(r"\w+", (root / page).read_text(encoding="utf-8")) for page in DOCUMENTED.values()}
    assert [module for module, page in DOCUMENTED.items() if module.rpartition(".")[2] not in words[page]] == []


def test_every_public_name_is_used(trees: dict[str, ast.Module], reached: set[str], root: Path) -> None:
    bodies = {(module, "") for module in reached}
    told: set[Node] = set()
    for module, page in DOCUMENTED.items():
        words = set(re.findall(r"\w+", (root / page).read_text(encoding="utf-8")))
        told |= {(inner, name) for inner in under(trees, module) for name in words}
    used = closure(bodies | told, name_edges(trees))
    public = {f"{module}:{name}" for module in reached for name in names_of(trees[module]) if not name.startswith("_")}
    assert public - {f"{module}:{name}" for module, name in used} == {name for name in EXCEPTIONS if ":" in name}, (
        "new names that nothing uses, or exceptions that are used or gone"
    )


def test_exceptions_have_reasons() -> None:
    assert all(len(reason.split()) >= 4 for reason in EXCEPTIONS.values())


def test_starts_and_documented_modules_are_there(trees: dict[str, ast.Module]) -> None:
    assert [place for place in (*STARTS, *DOCUMENTED) if place not in trees] == []


def test_a_name_that_only_the_dead_use_is_dead() -> None:
    sources = {
        "tactful": "import b",
        "b": "from c import used\ndef start():\n    return used()\nif __name__ == '__main__':\n    start()",
        "c": "def used():\n    return 1\ndef dead():\n    return also_dead()\ndef also_dead():\n    return also_dead()",
    }
    trees = {name: ast.parse(text) for name, text in sources.items()}
    used = closure([("b", ""), ("c", "")], name_edges(trees))
    assert used >= {("b", "start"), ("c", "used")}
    assert not used & {("c", "dead"), ("c", "also_dead")}
