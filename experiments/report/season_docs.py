"""An experiment as Markdown for docs/, its picture beside it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from experiments.report.files import write_whole
from experiments.report.season_pictures import season_picture
from experiments.season.outputs import ExperimentOutput, ScenarioGap, SeasonRow


def write_docs(output: ExperimentOutput, path: Path) -> Path:
    """Write the page and, beside it, its picture.

    Raises:
        StorageError: the disk refused.
    """
    picture = path.with_suffix(".svg")
    write_whole(picture, season_picture(output))
    return write_whole(path, "\n".join(season_markdown(output, picture.name)) + "\n")


def season_markdown(output: ExperimentOutput, picture: str) -> Iterator[str]:
    """Lines of the page."""
    contacts = max(row.contacts for row in output.rows)
    yield from (f"# {output.experiment.capitalize().replace('_', ' ')}", "", f"{output.question}", "")
    scenarios = ", ".join(dict.fromkeys(row.scenario for row in output.rows))
    policies = len({row.policy for row in output.rows})
    yield (
        f"This run: {policies} policies, {contacts:,} contacts for each of seeds "
        f"{', '.join(map(str, output.seeds))}, {output.days} days; {scenarios}."
    )
    yield from ("", f"![differences, regret and sends]({picture})", "", "## What was found", "")
    yield from (f"- {sentence}" for sentence in output.said)
    yield from ("", "## What it rests on", "")
    yield from (f"- {note}" for note in output.notes)
    for gap in output.gaps:
        yield from _scenario(output, gap)
    yield from ("", *(resources.files("experiments.report") / "season_method.txt").read_text("utf-8").splitlines())


def _scenario(output: ExperimentOutput, gap: ScenarioGap) -> Iterator[str]:
    single = len({one.variant for one in output.gaps}) == 1
    yield from ("", f"## {gap.scenario}" if single else f"## {gap.scenario}, {gap.variant}", "")
    room = []
    if gap.gap is not None:
        between = "" if gap.gap_low is None else f" ({gap.gap_low:+.3f} to {gap.gap_high:+.3f})"
        room.append(f"{output.reference} minus {output.baseline}: {gap.gap:+.3f}{between} USD per contact.")
    if gap.bound is not None:
        room.append(f"Nobody can pass {output.baseline} by more than {gap.bound:+.1f}.")
    if gap.silence_off is not None:
        room.append(f"Silence minus its closed form: {gap.silence_off:+.3f} ({gap.silence_stderr:.3f}).")
    yield from (" ".join(room), "") if room else ()
    columns = ("policy", "USD per contact", "difference", "interval", "sends", "unsubscribes", "complaints")
    yield f"| {' | '.join((*columns, 'at a discount', 'regret per day', 'gap closed'))} |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in output.rows:
        if (row.scenario, row.variant) == (gap.scenario, gap.variant):
            yield _line(row)


def _line(row: SeasonRow) -> str:
    gain = "-" if row.difference is None else f"{row.difference:+.3f}"
    if row.verdict in ("better", "worse"):
        gain = f"**{gain}** {row.verdict}"
    between = "-" if row.difference_low is None else f"{row.difference_low:+.3f} to {row.difference_high:+.3f}"
    closed = "-" if row.gap_closed is None else f"{row.gap_closed:.0%}"
    if row.gap_closed_low is not None and row.gap_closed_high is not None:
        closed += f" ({row.gap_closed_low:.0%} to {row.gap_closed_high:.0%})"
    figures = [
        row.policy,
        f"{row.profit:.3f}",
        gain,
        between,
        f"{row.sends:.2f}" + (" (more)" if row.more_sends else ""),
        f"{row.unsubscribes:.4f}" + (" (more)" if row.more_unsubscribes else ""),
        f"{row.complaints:.5f}",
        "-" if row.discount_share is None else f"{row.discount_share:.1%}",
        "-" if row.regret_per_day is None else f"{row.regret_per_day:.4f}",
        closed,
    ]
    return f"| {' | '.join(figures)} |"
