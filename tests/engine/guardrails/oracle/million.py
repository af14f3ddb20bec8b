"""The comparison at length, and its report.

    python -m tests.engine.guardrails.oracle.million 1000000 --processes 1

prints the counts; `make study` writes them to the docs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from engine.guardrails.pack import load_pack
from tests.engine.guardrails.oracle.caps import counting, promised
from tests.engine.guardrails.oracle.differ import Tally, total
from tests.engine.guardrails.oracle.files import misspelt, written
from tests.engine.guardrails.oracle.trials import changes, instants, trials

PACKS = {name: name for name in ("full", "default", "journeys", "permission")}
PACKS["strange"] = str(Path(__file__).with_name("strange.yaml"))
REPORT = Path("docs/guardrail-oracle.md")
# Of all triples: random contacts in arrays by pack, contacts of files, misspelt names, and reservations.
SHARES = {
    "full": 0.5,
    "default": 0.1,
    "journeys": 0.12,
    "permission": 0.04,
    "strange": 0.14,
    "files full": 0.04,
    "files journeys": 0.02,
    "misspelt journeys": 0.005,
    "misspelt full": 0.005,
    "reserved full": 0.02,
    "reserved strange": 0.02,
}
JOBS = 6
HEAD = """# The guardrail layer against an oracle

The oracle (`tests/engine/guardrails/oracle`) judges one contact, one action and one instant at a time in plain Python:
it asks `zoneinfo` for every wall clock, counts sends in a loop and adds money in decimals. It was written from the
catalogue's text and from what the rules' documentation says of their parameters. Where the text left two readings, the
documented one stands in both. Only the hash by which slow brakes thin is the engine's own.

Each block of contacts has every zone that a contact may have ({zones} names) and some contacts with none, and is judged
at an instant of its own: at clock changes of 2026 and 2027 ({changes} distinct ones), a microsecond beside them, hours
before them, on a leap day, at the turn of a year, in 1991 and in 2199. Sends and events lie at the very ends of the
rules' windows over the contact's own slots, before and after them, to the microsecond, at the epoch, in the far
future, or anywhere; a quarter are planned. Columns are missing for single contacts and for whole blocks, and so are
templates, topics, categories and depths of single sends. `strange` is a pack of odd numbers: zeros, nulls, windows
across midnight, overlapping laws.

`files` are contacts written to a file and read back: zones old and new, abbreviations, area codes and their overlays,
states and countries, which the oracle resolves by tables of its own. `misspelt` are such contacts with one name in
another case, with blanks, in another form of unicode or with a wrong letter: each was refused by the reader, or got
nothing that the oracle removes from the contact that was meant. `reserved` are the caps inside the reservation's
transaction at the wanted instant.

`make study` writes this file; `python -m tests.engine.guardrails.oracle.million 1000000` prints the counts.
**{triples:,} triples, {differ} differences.** {refused:,} contacts with a misspelt name were refused.
"""


def million(n: int, processes: int = 2) -> dict[str, Tally]:
    """About n triples, by kind of trial and pack."""
    jobs = [(name, round(n * share / JOBS) + 1, seed) for name, share in SHARES.items() for seed in range(JOBS)]
    if processes == 1:
        found = [trial(*job) for job in jobs]
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            found = pool.starmap(trial, jobs, chunksize=1)
    return {
        name: total(tally for (job, _, _), tally in zip(jobs, found, strict=True) if job == name) for name in SHARES
    }


def trial(name: str, n: int, seed: int) -> Tally:
    """About n triples of one kind."""
    kind, _, pack_name = name.rpartition(" ")
    pack, rng = load_pack(PACKS[pack_name]), np.random.default_rng([7_000, seed, len(name)])
    if not kind:
        return total(trials(pack, n, 1_000 + seed, blocks=7 if seed == 0 else 5))
    tally = Tally()
    if kind == "reserved":
        while tally.triples < n:
            tally.add(promised(rng, pack, instants(rng, 8)[7], 40))
        return tally
    with tempfile.TemporaryDirectory() as folder:
        # Most misspelt names are refused: such a contact takes as long as twenty triples that pass.
        while tally.triples + 20 * tally.refused < n:
            now = instants(rng, 8)[7]
            if kind == "files":
                tally.add(written(rng, pack, now, 60, 5, Path(folder)))
            else:
                tally.add(misspelt(rng, pack, now, 40, Path(folder)))
    return tally


def report(tallies: dict[str, Tally]) -> str:
    from tests.engine.guardrails.oracle.crowd import ZONES

    whole = total(tallies.values())
    differ, refused = sum(whole.differ.values()), whole.refused
    head = HEAD.format(zones=len(ZONES), changes=len(changes()), triples=whole.triples, differ=differ, refused=refused)
    lines = [head]
    for name, tally in tallies.items():
        kind, _, pack = name.rpartition(" ")
        lines += [f"## {kind.capitalize() or 'Pack'} `{pack}`", ""]
        if kind == "misspelt":
            counts = f"{tally.triples:,} triples that pass, {tally.refused:,} contacts refused"
            lines += [f"{counts}, {sum(tally.differ.values()):,} looser than what was meant.", ""]
            continue
        entries = load_pack(PACKS[pack]).rules
        lines += [
            f"{tally.triples:,} triples, of which {tally.sent:,} pass. Counts of triples by rule:",
            "",
            "| id | rule | agreed removed | agreed allowed | differ |",
            "|---|---|---:|---:|---:|",
        ]
        for entry in counting(load_pack(PACKS[pack])) if kind == "reserved" else entries:
            row = (tally.removed[entry.id], tally.allowed[entry.id], tally.differ[entry.id])
            lines.append(f"| {entry.id} | {entry.rule} | " + " | ".join(f"{count:,}" for count in row) + " |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the guardrail layer with the oracle.")
    parser.add_argument("triples", type=int)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--report", type=Path, help="write the report to a file")
    asked = parser.parse_args()
    tallies = million(asked.triples, asked.processes)
    for name, tally in tallies.items():
        counts = f"{tally.triples:,} triples, {tally.sent:,} pass, {tally.refused:,} refused"
        print(f"{name}: {counts}, {sum(tally.differ.values())} differ {dict(Counter(tally.differ))}")
        print(*tally.cases[:3], sep="\n", end="\n" if tally.cases else "")
    whole = total(tallies.values())
    print(f"{whole.triples:,} triples, {sum(whole.differ.values())} differences, {whole.refused:,} contacts refused")
    if asked.report:
        asked.report.write_text(report(tallies), encoding="utf-8")


if __name__ == "__main__":
    main()
