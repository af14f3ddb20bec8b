"""Off-policy evaluation beside obp and vw-estimators: python tests/benchmarks/bench_ope_peers.py [--json OUT].

    python -m venv peers
    peers/bin/pip install numpy==1.23.5 scipy==1.9.3 pandas==1.5.2 scikit-learn==1.1.3 pyyaml matplotlib tqdm
    peers/bin/pip install --no-deps --ignore-requires-python obp==0.5.7 vw-estimators==0.2.2
    python tests/benchmarks/bench_ope_peers.py --peer-python peers/bin/python

Everybody judges the same policy on the same rows. What the policy would do and what the reward model expects are ready
arrays for all of them, so what is timed is estimation: ours is IPS, SNIPS and DR in one pass, with standard errors,
checks of every row, weights and support; obp's is the value of one estimator, vw-estimators' one of its own. Peers run
in a process of their own (their pins need old versions), one after the other with ours, the best of `ROUNDS` turns.
`peak_mib` is what a process took beyond the arrays that were there before. A case whose arrays would not fit into the
memory that is free is left out for the peer; ours makes them chunk by chunk then, and the making is taken off.
Without --peer-python only ours is measured.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "engine" / "ope" / "golden"))

import numpy as np
from peak_memory import peak_mib, reset_peak

ROUNDS = 5
CHUNK = 4096
MIB = 2**20
ACTIONS = (10, 100, 577)
VW_ROWS = 100_000


def chunk_of(number: int, n: int, k: int) -> SimpleNamespace:
    """Rows of one chunk, the same for everybody; numpy's streams are."""
    rng = np.random.default_rng([k, number])
    target = rng.random((n, k))
    target /= target.sum(axis=1, keepdims=True)
    return SimpleNamespace(
        target=target,
        model=rng.random((n, k)) * 0.2,
        action=rng.integers(k, size=n),
        propensity=rng.uniform(0.5 / k, min(1.0, 2 / k), n),
        reward=(rng.random(n) < 0.1).astype(np.float64),
    )


def chunks(rows: int, k: int) -> Iterator[SimpleNamespace]:
    for number, start in enumerate(range(0, rows, CHUNK)):
        yield chunk_of(number, min(CHUNK, rows - start), k)


def best(call: Callable[[], Any]) -> tuple[float, Any]:
    taken, found = [], None
    for _ in range(ROUNDS):
        start = time.perf_counter()
        found = call()
        taken.append(time.perf_counter() - start)
    return min(taken), found


# --- peers: run by --peer-python, without anything of ours ----------------------------------------------------------


def peer(rows: int, k: int) -> dict[str, Any]:
    """obp's IPS, SNIPS and DR over whole arrays, and vw-estimators' IPS row by row."""
    ope = import_module("make_golden").obp_ope()
    parts = list(chunks(rows, k))
    whole = {name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
    del parts
    given = {
        "reward": whole["reward"],
        "action": whole["action"],
        "pscore": whole["propensity"],
        "action_dist": whole["target"][:, :, None],
        "position": np.zeros(rows, dtype=int),
    }
    found = {}
    model = {"estimated_rewards_by_reg_model": whole["model"][:, :, None]}
    for name, estimator, more in (
        ("obp ips", ope.InverseProbabilityWeighting(), {}),
        ("obp snips", ope.SelfNormalizedInverseProbabilityWeighting(), {}),
        ("obp dr", ope.DoublyRobust(), model),
    ):
        before = reset_peak()
        seconds, value = best(partial(estimator.estimate_policy_value, **given, **more))
        found[name] = {"seconds": seconds, "value": float(value), "peak_mib": peak_mib() - before}
    found["vw-estimators ips"] = vw_ips(whole)
    return found


def vw_ips(whole: dict[str, Any]) -> dict[str, Any]:
    ips = import_module("estimators.bandits.ips")
    n = min(VW_ROWS, len(whole["reward"]))
    asked = whole["target"][np.arange(n), whole["action"][:n]]
    listed = list(zip(whole["propensity"][:n].tolist(), whole["reward"][:n].tolist(), asked.tolist()))  # noqa: B905

    def run() -> float:
        estimator = ips.Estimator()
        for propensity, reward, target in listed:
            estimator.add_example(propensity, reward, target)
        return float(estimator.get())

    seconds, value = best(run)
    return {"seconds": seconds * len(whole["reward"]) / n, "value": value, "timed_rows": n}


# --- ours -----------------------------------------------------------------------------------------------------------


def ours(rows: int, k: int, estimators: tuple[str, ...], ready: bool) -> dict[str, Any]:
    from engine.eligibility import pack
    from engine.features import ContextBatch, FeatureSchema
    from engine.ope.evaluate import finish
    from engine.ope.models.crossfit import CrossFitted
    from engine.ope.setup import Question, Setup
    from engine.ope.state import EvaluationState
    from engine.ope.target import PolicyTarget
    from engine.records.rounds import RoundBatch
    from engine.types import NOT_AN_INSTANT

    schema = FeatureSchema(features=())
    everything = pack(np.ones((CHUNK, k), dtype=bool))
    now: SimpleNamespace = SimpleNamespace()

    def batch_of(number: int, part: SimpleNamespace) -> RoundBatch:
        n = len(part.reward)
        return RoundBatch(
            chunk=number,
            decision_id=np.empty(n, dtype=object),
            context=ContextBatch(schema, {}, n),
            action=part.action.astype(np.int32),
            propensity=part.propensity,
            eligible=everything[:n],
            k=k,
            cluster=np.arange(number * CHUNK, number * CHUNK + n, dtype=np.uint64),
            rewards={"r": part.reward},
            usable=np.ones(n, dtype=bool),
            decided_at=np.full(n, NOT_AN_INSTANT),
            extra={},
        )

    class Ready:
        """The policy and the model of the present chunk."""

        name = "ready"

        def distribution(self, context: ContextBatch, eligible: Any) -> Any:
            return now.part.target

        def fit(self, rounds: Any) -> None:
            """Nothing to learn: the model is given."""

        def predict(self, context: ContextBatch) -> Any:
            return now.part.model

    setup = Setup(
        targets=(PolicyTarget(Ready()),),
        question=Question(metric="r", reward_range=(0, 1), estimators=estimators),
        models=CrossFitted((Ready(),), 0),
    )
    made = [(batch_of(number, part), part) for number, part in enumerate(chunks(rows, k))] if ready else None
    chunk_of(0, CHUNK, k)
    before = reset_peak()

    def run() -> Any:
        state = EvaluationState(setup)
        for block, part in made or ((batch_of(i, one), one) for i, one in enumerate(chunks(rows, k))):
            now.part = part
            state.add(block)
        return finish(state)

    if ready:
        seconds, found = best(run)
    else:
        start = time.perf_counter()
        for _ in chunks(rows, k):
            pass
        making = time.perf_counter() - start
        start = time.perf_counter()
        found = run()
        seconds = time.perf_counter() - start - making
    return {
        "seconds": seconds,
        "peak_mib": peak_mib() - before,
        "values": {estimate.estimator: estimate.value for estimate in found.results},
    }


def in_process(call: Callable[..., Any], *arguments: Any) -> Any:
    """A process of its own, because a peak never goes down again."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(call, arguments)


def case(rows: int, k: int, peer_python: str | None) -> dict[str, Any]:
    fits = 4 * rows * k * 8 < 0.8 * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found: dict[str, Any] = {"rows": rows, "actions": k}
    if peer_python and fits:
        asked = [peer_python, __file__, "--as-peer", str(rows), str(k)]
        answer = subprocess.run(asked, capture_output=True, text=True, check=True)
        found["peers"] = json.loads(answer.stdout.splitlines()[-1])
    elif peer_python:
        found["peers"] = f"left out: {4 * rows * k * 8 / MIB:.0f} MiB of arrays and copies do not fit"
    for name, estimators in (("ips", ("ips",)), ("dr", ("dr",)), ("all", ("ips", "snips", "dr"))):
        found[f"ours {name}"] = in_process(ours, rows, k, estimators, fits)
    if isinstance(found.get("peers"), dict):
        theirs = found["peers"]
        found["time ratio, DR"] = found["ours dr"]["seconds"] / theirs["obp dr"]["seconds"]
        found["memory ratio, DR"] = found["ours dr"]["peak_mib"] / max(theirs["obp dr"]["peak_mib"], 1e-9)
        found["largest difference"] = max(
            abs(found["ours all"]["values"][name] - theirs[f"obp {name}"]["value"]) for name in ("ips", "snips", "dr")
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--actions", type=int, nargs="*", default=ACTIONS)
    parser.add_argument("--peer-python", help="a Python that has obp and vw-estimators")
    parser.add_argument("--as-peer", type=int, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_peer:
        print(json.dumps(peer(*given.as_peer)))
        return
    found = {"cases": [case(given.rows, k, given.peer_python) for k in given.actions]}
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
