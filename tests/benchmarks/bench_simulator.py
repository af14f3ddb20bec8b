"""Contact-days per second of the simulator: python tests/benchmarks/bench_simulator.py [--json OUT] [--contacts N].

A contact-day is one decision of one contact under the guardrails of the scenario's pack, and everything that then
happens to it. `campaign` is `tactful/Campaign-v0` with a compiled Vowpal Wabbit policy (trained here on a simulated
log, exported, loaded), block after block (`run`), in one process and in two that share the contacts; `stages` is the
same with each part timed; `without` leaves parts out, one at a time; `world_alone` never sends, so nothing is observed
or judged; `lockstep` steps everybody day by day through the vector API with observations, as a learner would;
`subscriber` is the same world contact by contact through `tactful/Subscriber-v0`, on a sample.

Seconds of one process are its CPU seconds, so that a busy machine counts less; those of two are wall time, measured
beside the wall time of one. `peak_mib` is the peak of a fresh process that runs N and 4 N contacts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from engine.eligibility import Eligibility
from engine.records.rounds import CHUNK_ROWS, RoundBatch
from engine.types import HOLD
from policies.peers.constant import UniformPolicy
from policies.trained import TrainedFolder
from policies.vw.learner import VwLearner
from simulator.envs import CampaignEnv, SubscriberEnv
from simulator.envs.batch import BATCH_ROWS
from simulator.rollout import HoldActor, PolicyActor, Turn, turn_of
from simulator.scenario import Scenario, load_scenario
from simulator.world.world import World

SEED, TRAINING_SEED = 7, 8
REWARD_RANGE = (-5.0, 30.0)
MIB = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--contacts", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--scenario", default="newsletter")
    parser.add_argument("--part", nargs=4, metavar=("POLICY", "FIRST", "CONTACTS", "MODE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        folder, first, contacts, mode = options.part
        result = part(Path(folder), options.scenario, int(first), int(contacts), options.days, mode)
    else:
        result = measure(options.scenario, options.contacts, options.days)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def measure(name: str, contacts: int, days: int) -> dict[str, Any]:
    scenario = load_scenario(name)
    contact_days = contacts * days
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "policy"
        train(scenario, policy)
        actor = PolicyActor(TrainedFolder(policy).policy())
        timed_run(scenario, actor, 256, 2)  # compiles the kernels and fills the zone caches
        one = timed_run(scenario, actor, contacts, days)
        alone = timed_run(scenario, HoldActor(), contacts, days)
        sample = min(contacts, BATCH_ROWS)
        stages, sends = by_stage(scenario, actor, sample, days)
        return {
            "machine": {"cpus": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
            "scenario": name,
            "actions": scenario.catalog.k,
            "rules": len(scenario.pack.rules),
            "contacts": contacts,
            "days": days,
            "block_rows": BATCH_ROWS,
            "sends_per_contact_day": sends / (sample * days),
            "sample": {"contacts": sample, "of": ["stages", "without", "lockstep"], "days_without": max(1, days // 3)},
            "contact_days_per_s": {
                "campaign": contact_days / one["cpu_s"],
                "world_alone": contact_days / alone["cpu_s"],
                "lockstep_with_observations": sample * days / lockstep(scenario, sample, days),
                **together(policy, name, contacts, days),
                "subscriber": subscriber_rate(scenario, days),
            },
            "stages_us_per_contact_day": {stage: 1e6 * s / (sample * days) for stage, s in stages.items()},
            "without_us_per_contact_day": without(scenario, actor, sample, max(1, days // 3)),
            "peak_mib": peaks(policy, name, contacts, days),
        }


def train(scenario: Scenario, folder: Path) -> None:
    """A VW policy from a week of uniform decisions over 4,096 contacts, exported."""
    world, actor = World(scenario, 4096, TRAINING_SEED), PolicyActor(UniformPolicy())
    learner = VwLearner(scenario.catalog, scenario.features, "reward_usd", REWARD_RANGE)
    learner.learn(logged(world, actor, 7))
    learner.export(folder)


def logged(world: World, actor: PolicyActor, days: int) -> list[RoundBatch]:
    """A simulated log, as rounds."""
    blocks: list[RoundBatch] = []
    for day in range(days):
        turn = turn_of(world)
        chosen, propensity = actor.act(turn)
        action = np.zeros(world.n, dtype=np.int32)
        action[turn.rows] = chosen
        reward = np.clip(world.advance(action).reward_usd[turn.rows], *REWARD_RANGE)
        for start in range(0, len(turn.rows), CHUNK_ROWS):
            part = slice(start, start + CHUNK_ROWS)
            rows = turn.rows[part]
            blocks.append(
                RoundBatch(
                    chunk=len(blocks),
                    decision_id=np.array([f"{day}-{row}" for row in rows], dtype=object),
                    context=turn.contacts.context.take(part),
                    action=chosen[part],
                    propensity=propensity[part],
                    eligible=turn.eligibility.take(part).packed(),
                    k=world.catalog.k,
                    cluster=world.people.keys[rows],
                    rewards={"reward_usd": reward[part]},
                    usable=np.ones(len(rows), dtype=np.bool_),
                    decided_at=np.zeros(len(rows), dtype=np.int64),
                    extra={},
                )
            )
    return blocks


def timed_run(scenario: Scenario, actor: Any, contacts: int, days: int, first: int = 0) -> dict[str, float]:
    """CPU and wall seconds of an episode, making the contacts included, and its mean reward."""
    env = CampaignEnv(contacts, scenario=scenario, days=days, first=first)
    cpu, wall = time.process_time(), time.perf_counter()
    total = env.run(actor, seed=SEED)
    return {
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - wall,
        "reward_usd": float(total.mean()),
    }


class Clock:
    """CPU seconds by stage."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.spent[name] = self.spent.get(name, 0.0) + time.process_time() - start

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with self.stage(name):
                return function(*arguments)

        return call


PARTS = {
    "response": ("_response", "chances"),
    "organic": ("_dynamics", "organic"),
    "dynamics": ("_dynamics", "after"),
    "delays": ("_arrivals", "plan"),
    "arrivals": ("_arrivals", "arrive"),
}


def by_stage(scenario: Scenario, actor: PolicyActor, contacts: int, days: int) -> tuple[dict[str, float], int]:
    """CPU seconds of each stage of an episode; `advance_rest` is the draws and the money. And the number of sends."""
    clock, sends = Clock(), 0
    for start in range(0, contacts, BATCH_ROWS):
        with clock.stage("make_contacts"):
            world = World(scenario, min(BATCH_ROWS, contacts - start), SEED, first=start)
        for name, (owner, method) in PARTS.items():
            holder = getattr(world, owner)
            setattr(holder, method, clock.timed(name, getattr(holder, method)))
        sends += sum(staged_step(world, actor, clock) for _ in range(days))
    clock.spent["advance_rest"] = clock.spent.pop("advance") - sum(clock.spent[name] for name in PARTS)
    return clock.spent, sends


def staged_step(world: World, actor: Any, clock: Clock) -> int:
    """`simulator.rollout.play`, stage by stage; returns the number of sends."""
    action = np.full(world.n, HOLD, dtype=np.int32)
    with clock.stage("deciding"):
        rows = np.flatnonzero(world.deciding())
    with clock.stage("observe"):
        contacts = world.contacts(rows)
    with clock.stage("eligibility"):
        eligibility = world.eligibility(contacts)
    with clock.stage("policy"):
        uniform = world.draw("decision", world.state.step, rows)
        action[rows], _ = actor.act(Turn(world, rows, contacts, eligibility, uniform))
    with clock.stage("advance"):
        return len(world.advance(action).rows)


def without(scenario: Scenario, actor: PolicyActor, contacts: int, days: int) -> dict[str, dict[str, float]]:
    """CPU microseconds and sends per contact-day with one part left out at a time; "nothing" leaves out none.

    A part that is missing changes what is sent, so these do not add up; the stages do.
    """
    out = {}
    for name in ("nothing", "policy", "guardrails", "organic", "dynamics", "delays and arrivals"):
        clock, sends = Clock(), 0
        for start in range(0, contacts, BATCH_ROWS):
            world = World(scenario, min(BATCH_ROWS, contacts - start), SEED, first=start)
            leave_out(world, name)
            chooser = HoldActor() if name == "policy" else actor
            with clock.stage("all"):
                sends += sum(staged_step(world, chooser, Clock()) for _ in range(days))
        out[name] = {
            "us": 1e6 * clock.spent["all"] / (contacts * days),
            "sends": sends / (contacts * days),
        }
    return out


def leave_out(world: World, name: str) -> None:
    """Replace a part of a world by one that does nothing."""
    nothing = dict.fromkeys(("dynamics", "delays", "arrivals"), lambda *_: None)
    if name == "guardrails":
        channels, hours, arms = world.catalog.shape
        everything = Eligibility(
            np.ones((world.n, channels, arms), dtype=np.bool_),
            np.ones((world.n, 2, channels, hours), dtype=np.bool_),
            world.catalog.purpose_codes,
        )
        world.eligibility = lambda contacts, *_: everything.take(slice(contacts.n))  # type: ignore[method-assign]
    if name == "organic":
        never = np.zeros(world.n)
        world._dynamics.organic = lambda *_: never
    for part in nothing:
        if part in name:
            owner, method = PARTS[part]
            setattr(getattr(world, owner), method, nothing[part])


def lockstep(scenario: Scenario, contacts: int, days: int) -> float:
    """CPU seconds of an episode through `reset` and `step`, observations and checks of actions included."""
    env = CampaignEnv(contacts, scenario=scenario, days=days)
    start = time.process_time()
    env.reset(seed=SEED)
    for _ in range(days):
        action = np.zeros(contacts, dtype=np.int32)
        for rows, eligibility in env.eligibility():
            action[rows] = eligibility.dense()[:, ::-1].argmax(axis=1)
        env.step(np.where(action > 0, env.single_action_space.n - 1 - action, HOLD))
    return time.process_time() - start


def subscriber_rate(scenario: Scenario, days: int, contacts: int = 10) -> float:
    """Contact-days per CPU second, contact by contact, sending the first thing allowed."""
    env, steps = SubscriberEnv(scenario, days=days), 0
    start = time.process_time()
    for contact in range(contacts):
        env.reset(seed=SEED, options={"contact": contact})
        over = False
        while not over:
            _, _, terminated, truncated, _ = env.step(np.int64(np.flatnonzero(env.action_masks())[-1]))
            over, steps = terminated or truncated, steps + 1
    return steps / (time.process_time() - start)


def together(policy: Path, scenario: str, contacts: int, days: int) -> dict[str, float]:
    """Contact-days per wall second, in one fresh process and in two that start at the same moment."""
    rates = {}
    for name, processes in (("one_process_wall", 1), ("two_processes_wall", 2)):
        share = contacts // processes
        children = [child(policy, scenario, index * share, share, days, "run") for index in range(processes)]
        for process in children:
            process.stdout.readline()  # ready: imported, compiled
        for process in children:
            process.stdin.write("go\n")
            process.stdin.flush()
        results = [json.loads(process.communicate()[0]) for process in children]
        rates[name] = processes * share * days / max(result["wall_s"] for result in results)
        rates[name.replace("wall", "cpu")] = processes * share * days / max(result["cpu_s"] for result in results)
    return rates


def peaks(policy: Path, scenario: str, contacts: int, days: int) -> dict[str, Any]:
    """Peak memory of fresh processes, MiB: block after block (`run`), and with everybody at once (`lockstep`)."""
    short = max(1, days // 18)
    out: dict[str, Any] = {"days": short}
    for mode in ("run", "lockstep"):
        for factor, name in ((1, "contacts"), (4, "four_times_contacts")):
            process = child(policy, scenario, 0, factor * contacts, short, mode)
            process.stdout.readline()
            out[f"{mode}_{name}"] = json.loads(process.communicate("go\n")[0])["peak_mib"]
    return out


def child(policy: Path, scenario: str, first: int, contacts: int, days: int, mode: str) -> Any:
    """This script in a process of its own."""
    command = [sys.executable, __file__, "--scenario", scenario, "--days", str(days), "--part"]
    command += [str(policy), str(first), str(contacts), mode]
    # Two processes with a pool of threads each would fight for the same cores.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **threads}
    )


def part(policy: Path, name: str, first: int, contacts: int, days: int, mode: str) -> dict[str, float]:
    """What a child does: get ready, wait for a line, run, and say what it took."""
    scenario, actor = load_scenario(name), PolicyActor(TrainedFolder(policy).policy())
    timed_run(scenario, actor, 256, 2)
    print("ready", flush=True)
    sys.stdin.readline()
    result: dict[str, float] = {}
    if mode == "run":
        result = timed_run(scenario, actor, contacts, days, first)
    else:
        env = CampaignEnv(contacts, scenario=scenario, days=days, first=first)
        env.reset(seed=SEED)
        for _ in range(days):
            env.play(actor)
    return result | {"peak_mib": peak_mib()}


def peak_mib() -> float:
    """Peak memory of this process; on Linux `ru_maxrss` of a child begins at what its parent had."""
    status = Path("/proc/self/status")
    if status.exists():
        found = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        if found:
            return int(found[0]) / MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


if __name__ == "__main__":
    main()
