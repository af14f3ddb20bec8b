"""The comparison at length, in two processes, and its report."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

from engine.guardrails.pack import load_pack
from tests.engine.guardrails.oracle.differ import Tally, total
from tests.engine.guardrails.oracle.trials import changes, trials

PACKS = {"full": "full", "strange": str(Path(__file__).with_name("strange.yaml"))}
REPORT = Path("docs/guardrail-oracle.md")
SHARES = {"full": 0.8, "strange": 0.2}
JOBS = 20
HEAD = """# The guardrail layer against an oracle

The oracle (`tests/engine/guardrails/oracle`) judges one contact, one action and one instant at a time in plain Python: it
asks `zoneinfo` for every wall clock, counts sends in a loop and adds money in decimals. It was written from the
catalogue's text and from what the rules' documentation says of their parameters. Where text and layer left two readings,
the one that is documented stands in both. Only the hash by which slow brakes thin is the engine's own.

Each block of contacts has every zone of the tz database ({zones} names) and some contacts with none, and is judged at an
instant of its own: at clock changes of 2026 and 2027 ({changes} distinct ones), a microsecond beside them, hours
before them, on a leap day, at the turn of a year, in 1972 and in 2199. Sends and events lie at the very ends of the
rules' windows over the contact's own slots, to the microsecond, at the epoch, in the far future, or anywhere; columns
are missing for single contacts and for whole blocks. `strange` is a pack of odd numbers: zeros, nulls, windows across
midnight, overlapping laws.

`make study` writes this file. **{triples:,} triples, {differ} differences.**
"""


def million(n: int) -> dict[str, Tally]:
    """About n triples by pack."""
    jobs = [(name, round(n * share / JOBS) + 1, seed) for name, share in SHARES.items() for seed in range(JOBS)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.starmap(_part, jobs, chunksize=1)
    return {
        name: total(tally for (job, _, _), tally in zip(jobs, found, strict=True) if job == name) for name in SHARES
    }


def _part(name: str, n: int, seed: int) -> Tally:
    return total(trials(load_pack(PACKS[name]), n, 1_000 + seed, blocks=7 if seed == 0 else 4))


def report(tallies: dict[str, Tally]) -> str:
    from tests.engine.guardrails.oracle.crowd import ZONES

    triples = sum(tally.triples for tally in tallies.values())
    differ = sum(sum(tally.differ.values()) for tally in tallies.values())
    lines = [HEAD.format(zones=len(ZONES), changes=len(changes()), triples=triples, differ=differ)]
    for name, tally in tallies.items():
        lines += [
            f"## Pack `{name}`",
            "",
            f"{tally.triples:,} triples, of which {tally.sent:,} pass every rule. Counts of triples by rule:",
            "",
            "| id | rule | agreed removed | agreed allowed | differ |",
            "|---|---|---:|---:|---:|",
        ]
        for entry in load_pack(PACKS[name]).rules:
            counts = (tally.removed[entry.id], tally.allowed[entry.id], tally.differ[entry.id])
            lines.append(f"| {entry.id} | {entry.rule} | " + " | ".join(f"{count:,}" for count in counts) + " |")
        lines.append("")
    return "\n".join(lines)
