"""Small runs of `tactful simulate` for tests."""

from __future__ import annotations

from pathlib import Path

from experiments.settings import compose_settings
from experiments.simulate.outputs import SimulateOutput
from experiments.simulate.run import SimulateRequest, simulate
from experiments.simulate.run_spec import SimulateConfig

KEY = "test"
# Learns on most days: the window closes after a day, and one pass is quick.
LEARNS = (
    *(
        "policy=vw",
        "learner=mtr",
        "warm_up_days=2",
        "scenario.attribution_window_days=1",
        "learner.passes=1",
        "uniform_share=0.2",
    ),
    *("+scenario.delay.late_share=0.2", "+scenario.delay.duplicate_share=0.2", "+scenario.delay.lost_share=0.1"),
)


def settings(*overrides: str) -> SimulateConfig:
    return compose_settings("simulate", ["contacts=300", "days=4", *overrides], SimulateConfig)


def small_run(out: Path, *overrides: str, keep_parts: bool = False) -> SimulateOutput:
    return simulate(SimulateRequest(out, KEY, keep_parts), settings(*overrides))


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a run with its bytes, by name; the manifest stands for a policy's folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "model.vw"
    }
