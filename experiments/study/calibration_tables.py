"""The tables of docs/calibration.md: every shipped number that was fitted, and every figure that it was fitted to.

`python -m experiments.study.calibration_tables` writes them anew after `conf/calibration/` changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from simulator.calibration.files import Moment, load_calibration, numbers_in
from simulator.calibration.groups import GROUPS

DOC: Final = Path("docs/calibration.md")
# The tables stand behind this line, up to the end of the file.
MARK: Final = "<!-- Below: made by `python -m experiments.study.calibration_tables` from conf/calibration/. -->"


def tables() -> str:
    """One section a group, in the order of `simulator.calibration.groups`: the same files give the same bytes."""
    return "\n".join(_section(name, group.file) for name, group in GROUPS.items())


def with_tables(text: str) -> str:
    """The document with its tables made anew."""
    return text.split(MARK, maxsplit=1)[0] + MARK + "\n\n" + tables()


def _section(name: str, file: str) -> str:
    shipped = load_calibration(file)
    made = f"`{shipped.provenance.command}`"
    lines = [f"### {name}", "", f"`conf/calibration/{file}.yaml`, by {made}.", "", "| number | fitted |", "|---|---|"]
    lines += [f"| `{number}` | {value:.5g} |" for number, value in numbers_in(shipped.parts).items()]
    lines += ["", "| figure | published | simulated | difference | tolerance | met | unit | source |"]
    lines += ["|---|---|---|---|---|---|---|---|", *(_line(moment) for moment in shipped.moments), ""]
    return "\n".join(lines)


def _line(moment: Moment) -> str:
    figures = (moment.published, moment.simulated, moment.difference, moment.tolerance)
    met = ("yes" if moment.met else "no") + ("" if moment.claimed else ", not claimed")
    shown = " | ".join(f"{value:.4g}" for value in figures)
    return f"| `{moment.id}` | {shown} | {met} | {moment.unit} | {moment.source} |"


if __name__ == "__main__":
    DOC.write_text(with_tables(DOC.read_text(encoding="utf-8")), encoding="utf-8")
