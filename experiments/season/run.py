"""`tactful experiment`: plays every cell that is missing, then judges, and writes table, picture and page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pandas as pd

from experiments.outputs import json_bytes
from experiments.report.figures import svg_text
from experiments.report.files import make_folder, write_table, write_whole
from experiments.report.season import season_figure, season_page
from experiments.season.cells import CellGroup
from experiments.season.comparison import judged
from experiments.season.config import ExperimentConfig, one_cell
from experiments.season.findings import notes, sentences
from experiments.season.outputs import ExperimentOutput, SeasonRow
from experiments.season.policies import require_known
from experiments.season.runner import GroupRun, played
from experiments.season.variants import restriction, varied

PARTS = "parts"
Advance = Callable[[float], None]


@dataclass(frozen=True)
class ExperimentRequest:
    """What was asked for.

    Attributes:
        out: folder of the results.
        sweep: all values of every axis; else the first of each, beside the baseline.
        overrides: as given, for the line that makes the result again.
    """

    out: Path
    sweep: bool
    overrides: tuple[str, ...] = ()


def cells_of(config: ExperimentConfig) -> int:
    """Number of cells of an experiment."""
    groups = len(config.scenarios) * len(config.variants) * len(config.seed_numbers)
    return groups * len(config.all_policies)


def asked(config: ExperimentConfig, *, sweep: bool) -> ExperimentConfig:
    """The configuration of a sweep, or of its first cell.

    Raises:
        ConfigError: a policy, scenario, channel, hour or group of signals that does not exist.
    """
    chosen = config if sweep else one_cell(config)
    require_known([*chosen.all_policies, *chosen.at_most])
    for name in chosen.scenarios:
        for variant in chosen.variants.values():
            scenario = varied(name, variant)
            restriction(variant, scenario.catalog, scenario.features)
    return chosen


def experiment(request: ExperimentRequest, config: ExperimentConfig, advance: Advance) -> ExperimentOutput:
    """Play and judge.

    Args:
        request: where to, and how much.
        config: as composed; `asked` is applied here.
        advance: told of each cell that is done.

    Raises:
        ConfigError: see `asked`.
        LearnError: a slice gave nothing to learn from.
        StorageError: the disk refused, or cells of another configuration are in the way.
    """
    config = asked(config, sweep=request.sweep)
    parts = make_folder(make_folder(request.out) / PARTS)
    groups = [
        CellGroup(scenario, variant, seed)
        for scenario in config.scenarios
        for variant in config.variants
        for seed in config.seed_numbers
    ]
    missing = {group: GroupRun(config, group, parts).missing() for group in groups}
    total, left = cells_of(config), sum(map(len, missing.values()))
    advance(float(total - left))
    for cells in played(config, [group for group in groups if missing[group]], parts):
        advance(float(cells))
    rows, gaps = judged(config, parts)
    output = ExperimentOutput(
        experiment=config.name,
        question=config.question,
        baseline=config.baseline,
        reference=config.reference,
        alpha=config.alpha,
        days=config.days,
        seeds=config.seed_numbers,
        rows=tuple(rows),
        gaps=tuple(gaps),
        said=tuple(sentences(config, rows, gaps)),
        notes=tuple(notes(config)),
        cells=total,
        played=left,
        settings={key: value for key, value in msgspec.to_builtins(config).items() if key != "workers"},
    )
    return _write(request, output)


def _write(request: ExperimentRequest, output: ExperimentOutput) -> ExperimentOutput:
    """Table, picture and page; the same configuration gives the same bytes, whoever played the cells."""
    out = request.out
    sweep = " -m" if request.sweep else ""
    # Processes change nothing, so they are no part of what makes the result again.
    keys = " ".join(key for key in request.overrides if not key.startswith("workers="))
    command = f"tactful experiment {keys}{sweep} --out {out.name}".replace("  ", " ")
    # How many cells an earlier run had done is no part of the result.
    kept = msgspec.structs.replace(output, played=output.cells)
    write_table(out / "results.parquet", table(output))
    picture = svg_text(season_figure(kept))
    write_whole(out / "season.svg", picture)
    write_whole(out / "report.json", json_bytes(kept))
    write_whole(out / "report.html", season_page(kept, picture, command))
    names = {"report": "report.html", "json": "report.json", "table": "results.parquet", "picture": "season.svg"}
    return msgspec.structs.replace(output, files={name: str(out / file) for name, file in names.items()})


def table(output: ExperimentOutput) -> pd.DataFrame:
    """One line per scenario, variant and policy, the settings in the last column."""
    settings = msgspec.json.encode(output.settings, order="sorted").decode()
    frame = pd.DataFrame([msgspec.to_builtins(row) for row in output.rows], columns=SeasonRow.__struct_fields__)
    return frame.assign(settings=settings)
