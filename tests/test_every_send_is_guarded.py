"""No way around the guardrails: read from the source, and tried with a rule that removes every send."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from engine.guardrails.rule import Finding, Scene, Verdict
from engine.guardrails.rules.consent import ConsentRule
from experiments.cli.main import app

PACKAGES = ("engine", "policies", "simulator", "experiments")
# They draw from the eligible set that they are given; everybody else must have got it from the layer.
PRIMITIVES = {
    "engine/sampling.py",
    "policies/vw/scoring/compiled.py",
    "policies/vw/scoring/kernels.py",
    "policies/vw/scoring/jitted.py",
}
# Hands policies sealed copies of what it is given, and holds their draws against it.
PRIMITIVES |= {"engine/decide/asking.py"}
# Draws in each group from the eligible sets that it is given.
PRIMITIVES |= {"engine/decide/drawing.py"}
# Hands what it is given to the compiled policy of the contact's group.
PRIMITIVES |= {"policies/prices/priced.py"}
# In a simulated world nobody is reached; these draw from the eligible sets of a world whose layer was asked.
PRIMITIVES |= {"simulator/rollout.py", "simulator/world/faults.py", "experiments/season/actors.py"}
# Answers pictures, not contacts: nothing there can be sent.
STUDIES = {"experiments/study/digits.py"}
# Tries policies out on made-up rows: nothing there can be sent.
STUDIES |= {"policies/check.py"}
SAMPLERS = {"sample", "draw"}
# Of modular content: they draw from the factored eligible set that they are given.
PRIMITIVES |= {"engine/content/drawing.py", "policies/content/policy.py"}
NAMED_SAMPLERS = {"draw_in_groups", "uniform_actions"}
CHOOSERS = {"choose", "choose_blocks", "by_policy", "at_random"}
LAYER = {"eligibility", "blocks", "judged"}
# Rows of decisions are made by the layer's caller, or by somebody else long ago.
RECORD = {"decision_id", "action", "propensity", "eligible"}
RECORD_MAKERS = {"engine/decide/table.py", "engine/mapping/importer.py", "engine/mapping/rows.py"}

EMIT_DECISIONS = {"decide", "demo", "dispatch", "simulate"}
EMIT_NONE = {
    "ablate",
    "catalog",
    "import",
    "audit",
    "monitor",
    "erase",
    "calibrate",
    "evaluate",
    "experiment",
    "plan",
    "train",
    "backtest",
    "explain",
    "join",
    "remember",
    "guardrails",
    "state",
    "promote",
    "schema",
    "rollback",
}


@dataclass
class Function:
    """One function: what it calls by name, whether it draws, and whether it asks the layer."""

    where: str
    name: str
    calls: set[str] = field(default_factory=set)
    draws: bool = False
    guarded: bool = False


def functions(source: str, where: str) -> list[Function]:
    tree = ast.parse(source)
    samplers, modules = _imports(tree)
    made = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    # What stands outside of functions runs on import.
    loose = ast.Module([node for node in tree.body if not _defines(node)], [])
    return [_function(node, where, samplers, modules) for node in (*made, loose)]


def _defines(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def _imports(tree: ast.Module) -> tuple[set[str], set[str]]:
    """Names under which a module knows the samplers, and the module that holds them."""
    samplers, modules = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if node.module == "engine.sampling" and alias.name in SAMPLERS:
                    samplers.add(alias.asname or alias.name)
                if node.module == "engine" and alias.name == "sampling":
                    modules.add(alias.asname or alias.name)
    return samplers, modules


def _function(node: ast.AST, where: str, samplers: set[str], modules: set[str]) -> Function:
    made = Function(where, getattr(node, "name", "<module>"))
    for call in ast.walk(node):
        if not isinstance(call, ast.Call):
            continue
        if isinstance(call.func, ast.Name):
            made.calls.add(call.func.id)
            made.draws |= call.func.id in samplers | NAMED_SAMPLERS
        elif isinstance(call.func, ast.Attribute):
            made.calls.add(call.func.attr)
            made.guarded |= call.func.attr in LAYER and "guardrails" in ast.unparse(call.func.value)
            made.draws |= call.func.attr in CHOOSERS or (
                call.func.attr in SAMPLERS and isinstance(call.func.value, ast.Name) and call.func.value.id in modules
            )
    return made


def unguarded(found: list[Function]) -> set[str]:
    """Functions from which an action is drawn without anybody on the way having asked the layer."""
    callers: dict[str, list[Function]] = defaultdict(list)
    for function in found:
        for name in function.calls:
            callers[name].append(function)
    wrong, seen = set(), set()
    waiting = [function for function in found if function.draws and function.where not in PRIMITIVES | STUDIES]
    while waiting:
        function = waiting.pop()
        key = (function.where, function.name)
        if function.guarded or key in seen:
            continue
        seen.add(key)
        above = [caller for caller in callers[function.name] if caller is not function]
        if above and function.name.startswith("_"):
            waiting += above
        else:
            # A public function can be called by anybody, so it must ask the layer itself.
            wrong.add(f"{function.where}:{function.name}")
    return wrong


def record_makers(source: str, where: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
            if keys >= RECORD:
                yield f"{where}:{node.lineno}"


@pytest.fixture(scope="module")
def shipped(project_files: list[Path], root: Path) -> dict[str, str]:
    paths = [path for path in project_files if path.parts[0] in PACKAGES and path.suffix == ".py"]
    return {path.as_posix(): (root / path).read_text(encoding="utf-8") for path in paths}


def test_every_draw_is_reached_through_the_layer_only(shipped: dict[str, str]) -> None:
    found = [function for where, source in shipped.items() for function in functions(source, where)]
    drawing = {function.where for function in found if function.draws}
    assert drawing - PRIMITIVES - STUDIES == {"engine/decide/batch.py"}
    assert unguarded(found) == set()


def test_only_the_layers_caller_and_the_importer_make_decisions(shipped: dict[str, str]) -> None:
    makers = {made.split(":")[0] for where, source in shipped.items() for made in record_makers(source, where)}
    assert "engine/decide/table.py" in makers
    assert makers <= RECORD_MAKERS


DRAWING = "from engine.sampling import sample\n"
ROGUE = {
    "a direct draw": DRAWING + "def send(p, ids):\n    return sample(p, ids, 0)\n",
    "under another name": "from engine.sampling import draw as pick\ndef send(p, u):\n    return pick(p, u)\n",
    "by the module": "from engine import sampling\ndef send(p, u):\n    return sampling.draw(p, u)\n",
    "a policy's own choice": "def send(policy, c, e, u):\n    return policy.choose(c, e, u)\n",
    "an assembly": "def send(policy, c, e, u):\n    return policy.choose_blocks(c, e, u)\n",
    "in groups": "def send(d, c, e, u, g):\n    return draw_in_groups(d, c, e, u, g, 0.0)\n",
    "a uniform assembly": "def send(e, u):\n    return uniform_actions(e, u)\n",
    "behind a helper": DRAWING + "def _pick(p):\n    return sample(p, [], 0)\ndef send(p):\n    return _pick(p)\n",
    "on import": DRAWING + "ACTION = sample([[1.0]], ['d'], 0)\n",
    "another eligibility": DRAWING + "def send(x, p):\n    x.eligibility(p)\n    return sample(p, [], 0)\n",
}
GUARDED = DRAWING + (
    "def _pick(p):\n    return sample(p, [], 0)\n"
    "def send(plan, p):\n    e, _ = plan.guardrails.eligibility(p)\n    return _pick(e)\n"
)


@pytest.mark.parametrize("name", ROGUE)
def test_the_finder_finds(name: str) -> None:
    assert unguarded(functions(ROGUE[name], "experiments/rogue.py")) != set()


def test_the_finder_lets_the_guarded_pass() -> None:
    assert unguarded(functions(GUARDED, "experiments/fine.py")) == set()
    row = "row = {'decision_id': 1, 'action': 2, 'propensity': 0.5, 'eligible': b''}\n"
    assert list(record_makers(row, "experiments/rogue.py")) == ["experiments/rogue.py:1"]


def test_every_command_is_known() -> None:
    """A new command must be put on one of the lists, and on the first if it can write decisions or sends."""
    names = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    assert names - EMIT_NONE <= EMIT_DECISIONS
    assert names >= EMIT_DECISIONS


def removes_every_send(_self: ConsentRule, scene: Scene) -> Verdict:
    return Verdict(channel_arm=np.ones((scene.contacts.n, 1, 1), dtype=np.bool_))


def sends_in(path: Path) -> int:
    return int(np.count_nonzero(pq.read_table(path)["action"].to_numpy()))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demonstration that may send: it does, or the tests below would show nothing."""
    folder = tmp_path_factory.mktemp("guarded")
    made = CliRunner().invoke(app, ["demo", "--act", "alike", "--out", str(folder), "--contacts", "3000", "--json"])
    assert made.exit_code == 0, made.output
    assert sends_in(folder / "alike" / "log.parquet") > 0
    assert sends_in(folder / "alike" / "decisions.parquet") > 0
    return folder / "alike"


@pytest.fixture
def sentinel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConsentRule, "verdict", removes_every_send)
    monkeypatch.setattr(ConsentRule, "explain", lambda *_: Finding("any", "none", "the sentinel removes every send"))


@pytest.mark.usefixtures("sentinel")
def test_decide_sends_nothing(world: Path, tmp_path: Path) -> None:
    asked = [
        "decide",
        "--policy",
        str(world / "backtest" / "policy"),
        "--contacts",
        str(world / "fresh_contacts.parquet"),
    ]
    for shares in ([], ["control_share=0.2", "uniform_share=0.5"]):
        out = tmp_path / f"{len(shares)}.parquet"
        made = CliRunner().invoke(app, [*asked, "--now", "2026-09-15T14:00:00Z", "--out", str(out), "--json", *shares])
        assert made.exit_code == 0, made.output
        assert sends_in(out) == 0
        assert set(pq.read_table(out)["propensity"].to_pylist()) == {1.0}


@pytest.mark.usefixtures("sentinel")
def test_simulate_sends_nothing(tmp_path: Path) -> None:
    """Whatever decides, at random or learning in the loop; in this process, where the sentinel is."""
    for policy in ("policy=uniform", "policy=vw", "policy='always:email|9|time_saver'"):
        out = tmp_path / "log.parquet"
        asked = [
            "simulate",
            "--out",
            str(out),
            "--replace",
            "--json",
            policy,
            "contacts=100",
            "days=3",
            "uniform_share=0.5",
        ]
        made = CliRunner().invoke(app, asked)
        assert made.exit_code == 0, made.output
        assert sends_in(out) == 0


@pytest.mark.usefixtures("sentinel")
def test_demo_sends_nothing(tmp_path: Path) -> None:
    """Without a single send there is nothing to learn from, so the command may fail; it must not send."""
    CliRunner().invoke(app, ["demo", "--act", "alike", "--out", str(tmp_path), "--contacts", "3000", "--json"])
    logs = [path for path in tmp_path.rglob("*.parquet") if "action" in pq.read_schema(path).names]
    assert logs
    assert [sends_in(path) for path in logs] == [0] * len(logs)


def test_dispatch_sends_nothing(world: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What was decided before the rule came stays unsent."""
    contacts = world / "fresh_contacts.parquet"
    asked = ["dispatch", "--decisions", str(world / "decisions.parquet"), "--contacts", str(contacts)]
    asked += ["--now", "2026-09-15T22:30:00Z", "--json"]
    counts = {}
    for name in ("free", "sentinel"):
        if name == "sentinel":
            request.getfixturevalue("sentinel")
        out = tmp_path / f"{name}.parquet"
        made = CliRunner(env={"TACTFUL_CONTACT_KEY": "demo", "TACTFUL_ACCEPT_WEAK_KEY": "yes"}).invoke(
            app, [*asked, "--out", str(out)]
        )
        assert made.exit_code == 0, made.output
        events = pq.read_table(out)["event"].to_pylist()
        counts[name] = (events.count("dispatched"), events.count("suppressed"))
    assert counts["free"][0] > 0
    assert counts["sentinel"] == (0, sum(counts["free"]))
