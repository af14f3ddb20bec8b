"""docs/simulator-numbers.md: every number of the simulator with unit, range, kind and source, from its own metadata.

`python -m experiments.study.simulator_numbers` writes it anew after a change of a part's defaults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from simulator.numbers import KINDS, numbers_of
from simulator.people.register import Register
from simulator.scenario import PARTS
from simulator.world.faults import Fault
from simulator.world.happened import Money
from simulator.world.observe import Observation

REPORT: Final = Path("docs/simulator-numbers.md")
# Heading -> the struct whose numbers stand below it.
SECTIONS: Final[Mapping[str, type[msgspec.Struct]]] = {
    **{f"{kind} `{name}`": struct for kind, parts in PARTS.items() for name, struct in parts.items()},
    "money": Money,
    "observation": Observation,
    "register": Register,
    "faults": Fault,
}
_HEAD: Final = """# Numbers of the simulator

Made by `python -m experiments.study.simulator_numbers` from the metadata of each parameter. The defaults stand in
the code;
scenarios (`conf/scenario/`) and fits (`conf/calibration/`) replace some of them. What the parts do with them:
[simulator.md](simulator.md).

- **published**: a figure that somebody printed; the source says who.
- **fitted**: estimated by `tactful calibrate`, from published moments or from a data set.
- **assumed**: no source was found. Sweep it before you rely on a result ([what they decide](assumed-numbers.md)).
- **definition**: a choice, not a claim about people.
"""


def report() -> str:
    """The file's text: the same structs give the same bytes."""
    kinds = Counter(one.kind for struct in SECTIONS.values() for one in numbers_of(struct))
    counts = ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS)
    parts = [_HEAD, f"{sum(kinds.values())} numbers or tables of numbers: {counts}.\n"]
    parts += [_section(heading, struct) for heading, struct in SECTIONS.items()]
    return "\n".join(parts)


def _section(heading: str, struct: type[msgspec.Struct]) -> str:
    lines = [f"## {heading}", "", "| number | default | unit | allowed | kind | source |", "|---|---|---|---|---|---|"]
    lines += [
        f"| `{one.name}` | {_shown(one.default)} | {one.unit} | {one.limits} | {one.kind} | {one.source} |"
        for one in numbers_of(struct)
    ]
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    """A default in words: a table as its entries, a curve as its knots."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_shown(one)}" for key, one in value.items()) or "none"
    if isinstance(value, tuple):
        return " ".join(f"({', '.join(map(_shown, one))})" if isinstance(one, tuple) else _shown(one) for one in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    (Path(__file__).resolve().parents[2] / REPORT).write_text(report(), encoding="utf-8")
