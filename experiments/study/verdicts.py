"""What the verdicts of a backtest are worth, in worlds whose truth is known: writes docs/verdicts.md.

Each world is a log of plain arrays, brought in by `tactful import`'s code and judged by `tactful backtest`'s with every
default as it ships. Counted are false claims where no message differs from another, the power to see a true gain, and
how often following the advice of the first screen is worth less than what the log did.
`python -m experiments.study.verdicts --out FOLDER` goes on where it stopped; one line of json for each log.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any, Final

import numpy as np
import pandas as pd
import typer
from scipy.special import betaincinv, expit

from engine.log.parquet import LogReader
from engine.mapping.dialect import load_mapping
from engine.mapping.importer import import_log
from engine.storage.parts import scratch_folder
from engine.types import FloatArray
from experiments.judge.backtest import BacktestOutput, BacktestRequest, judge_prepared, prepare
from experiments.judge.contenders import LEARNED, LOGGED
from experiments.judge.launch.prepared import Prepared
from experiments.judge.launch.views import METRIC
from experiments.settings import BacktestConfig, compose_settings
from policies.parts.surrogate import ADJUSTED, STAGE_WORTH

DOC: Final = Path(__file__).parents[2] / "docs" / "verdicts.md"
LOGS: Final = 200
TIERS: Final = ("bronze", "silver", "gold")
_KEY: Final = "5f2c9a1e7b3d48c6"
# Orders that come by themselves: their chance and their mean, USD. A clicked message brings what its arm is worth.
_ORDERS, _ORDER_USD, _CLICK_USD = 0.12, 40.0, 6.0
# Contexts on which a policy is worth what the world says.
_TRUTH_ROWS: Final = 6_000
# A smaller loss is rounding.
_NOTHING: Final = 1e-9


@dataclass(frozen=True)
class World:
    """A shop with some arms.

    Attributes:
        name: of the case.
        rows: decisions of a log.
        arms: messages; the first is sent most.
        effect: by how much, on the logit scale, the arm of a contact's own kind is clicked more than the others.
        past: USD that any message brings past the click; below 0 where messages do harm.
        holds: whether some are sent nothing.
        often: decisions about each contact, with a level of the contact's own.
        logs: that are judged of it.
        overrides: of the configuration of the backtest.
    """

    name: str
    rows: int
    arms: int
    effect: float = 0.0
    past: float = 0.0
    holds: bool = False
    often: int = 1
    logs: int = LOGS
    overrides: tuple[str, ...] = ()


NULLS: Final = (
    World("null, 2 arms", 6_000, 2),
    World("null, 10 arms", 6_000, 10),
    World("null, 36 arms", 6_000, 36),
    World("null, 10 arms, 6 decisions a contact", 6_000, 10, often=6),
)
POWERS: Final = (
    World("a gain of about 3 %", 24_000, 4, effect=0.5, logs=100),
    World("a gain of about 9 %", 24_000, 4, effect=1.0, logs=100),
)
ADVICE: Final = (
    World("no effect, with holds", 6_000, 4, holds=True, logs=100),
    World("weak effect, with holds", 6_000, 4, effect=0.5, holds=True, logs=100),
    World("strong effect, with holds", 8_000, 4, effect=1.5, holds=True, logs=100),
    World("messages do harm", 8_000, 4, effect=0.5, past=-1.0, holds=True, logs=100),
    World("messages help past the click", 8_000, 4, effect=0.5, past=1.0, holds=True, logs=100),
)
CASES: Final = (*NULLS, *POWERS, *ADVICE)


@dataclass(frozen=True)
class Drawn:
    """The decisions of one log, and what every action of each would bring on average.

    Attributes:
        frame: columns of the log.
        worth: (n, arms + 1) USD; the first column is of no message.
        chance: (n, arms + 1) probabilities of the log's policy.
    """

    frame: pd.DataFrame
    worth: FloatArray
    chance: FloatArray


def draw(world: World, seed: int, rows: int | None = None) -> Drawn:
    """A log of a world; the same seed is the same log, to the byte.

    Args:
        world: the world.
        seed: of everything that is drawn.
        rows: decisions, those of the world by default.
    """
    rng = np.random.default_rng([seed, world.arms, world.often, round(1000 * world.effect)])
    n = world.rows if rows is None else rows
    who = np.arange(n) // world.often
    contacts = int(who.max()) + 1
    age, spend = rng.uniform(18.0, 80.0, contacts)[who], rng.lognormal(3.0, 1.0, contacts)[who]
    recency, kind = rng.integers(1, 13, contacts)[who], rng.integers(4, size=contacts)[who]
    tier, level = rng.integers(3, size=contacts)[who], rng.normal(0.0, 0.7, contacts)[who]
    fits = np.arange(world.arms)[None, :] % 4 == kind[:, None]
    # What all decisions about one contact share; of single decisions it is noise like any other.
    level *= world.often > 1
    clicked = expit((0.3 * (age < 40) + level - 2.2)[:, None] + world.effect * fits)
    orders = expit(math.log(_ORDERS / (1 - _ORDERS)) + 0.4 * (tier - 1) - 0.08 * (recency - 6) + level)
    organic = orders * _ORDER_USD
    worth = np.column_stack([organic, organic[:, None] + clicked * _CLICK_USD + world.past])
    push = np.linspace(1.0, 0.0, world.arms)[None, :] + 0.5 * fits
    sends = np.exp(push) / np.exp(push).sum(axis=1, keepdims=True)
    held = 0.2 if world.holds else 0.0
    chance = np.column_stack([np.full(n, held), (1.0 - held) * sends])
    action = (rng.random(n)[:, None] > np.cumsum(chance, axis=1)).sum(axis=1).clip(0, world.arms)
    sent, own = action > 0, np.arange(n)
    click = sent & (rng.random(n) < clicked[own, np.maximum(action - 1, 0)])
    bought = rng.random(n) < orders
    money = bought * rng.gamma(2.0, _ORDER_USD / 2.0, n) + click * rng.gamma(2.0, _CLICK_USD / 2.0, n)
    frame = pd.DataFrame(
        {
            "id": [f"d{row}" for row in own],
            "customer": [f"c{one}" for one in who],
            "arm": np.array(["none", *(f"letter {place + 1}" for place in range(world.arms))])[action],
            "p": chance[own, action],
            "click": click.astype(int),
            "margin": money + sent * world.past,
            "age": age,
            "spend": spend,
            "recency": recency,
            "kind": np.array(["price", "trust", "ease", "news"])[kind],
            "tier": np.array(TIERS)[tier],
        }
    )
    return Drawn(frame, worth, chance)


def brought_in(world: World, drawn: Drawn, path: Path) -> LogReader:
    """The log as a file of our schema."""
    arms = [f"letter {place + 1}" for place in range(world.arms)]
    hold = "hold: {axis: arm, values: [none]}\n" if world.holds else ""
    path.with_suffix(".yaml").write_text(
        "name: shop\ncatalog:\n  channel: {constant: email}\n"
        f"  arm: {{column: arm, values: {json.dumps(arms)}}}\n{hold}"
        "propensity: {column: p}\ndecision_id: {column: id}\ncontact: {column: customer}\n"
        "feature_defaults: {source: world, collected_where: nowhere, customer_benefit: nobody is asked here}\n"
        "features:\n- {name: age, type: numeric, unit: years}\n- {name: spend, type: numeric, unit: usd}\n"
        "- {name: recency, type: numeric, unit: months}\n- {name: kind, type: categorical}\n"
        "- {name: tier, type: categorical}\n"
        "rewards:\n  margin: {column: margin, low: -10, high: 2000, unit: usd}\n"
        "  click: {column: click, low: 0, high: 1, unit: share}\n",
        encoding="utf-8",
    )
    drawn.frame.to_parquet(path.with_suffix(".raw.parquet"))
    import_log(load_mapping(path.with_suffix(".yaml")), path.with_suffix(".raw.parquet"), path, contact_key=_KEY)
    return LogReader(path)


def judged(world: World, seed: int) -> dict[str, Any]:
    """One log: what the backtest claims, and what is true."""
    started = time.monotonic()
    config = compose_settings("backtest", list(world.overrides), BacktestConfig)
    with scratch_folder() as folder:
        brought_in(world, draw(world, seed), folder / "log.parquet")
        fresh = draw(world, seed + 1_000_000, _TRUTH_ROWS)
        truth = Truth(brought_in(world, fresh, folder / "truth.parquet"), fresh)
        request = BacktestRequest(log=folder / "log.parquet", metric="margin", out=folder / "out")
        prepared = prepare(request, config)
        output = judge_prepared(prepared, request, config)
        worth = {name: truth.of(prepared, name) for name in {LEARNED, LOGGED, output.launch.policy}}
    return _line(world, seed, output, config.deciding_estimator, worth) | {"seconds": time.monotonic() - started}


@dataclass(frozen=True)
class Truth:
    """Fresh contacts of a world, and what each action is worth for them."""

    reader: LogReader
    drawn: Drawn

    def of(self, prepared: Prepared, name: str) -> float:
        """What a policy of a backtest brings per decision on average, USD."""
        if name == LOGGED:
            return float((self.drawn.chance * self.drawn.worth).sum(axis=1).mean())
        total, start = 0.0, 0
        for batch in self.reader.rounds():
            full = prepared.targets[name].probabilities(batch).full
            if full is None:
                return math.nan
            total += float((full * self.drawn.worth[start : start + batch.n]).sum())
            start += batch.n
        return total / start


def _line(world: World, seed: int, output: BacktestOutput, deciding: str, worth: dict[str, float]) -> dict[str, Any]:
    question = next(row for row in output.results if row.policy == LEARNED and row.estimator == deciding)
    rows = [row for row in output.results if row.estimator == deciding and row is not question] + list(
        output.comparisons
    )
    gap = question.difference
    return {
        "case": world.name,
        "seed": seed,
        "verdict": question.verdict,
        "others": sorted({f"{row.policy} {row.verdict}" for row in rows if row.verdict in ("better", "worse")}),
        "launch": output.launch.policy,
        "difference": None if gap is None else gap.value,
        "stderr": None if gap is None else gap.stderr,
        "low": None if gap is None else gap.low,
        "high": None if gap is None else gap.high,
        "rows": question.n,
        "alpha": question.alpha,
        "gain": worth[LEARNED] - worth[LOGGED],
        "today": worth[LOGGED],
        "followed": worth[output.launch.policy] - worth[LOGGED],
        "figures": {view.judged_by: [view.estimate.verdict, view.check, view.times] for view in output.views},
    }


def lines_of(folder: Path, cases: Sequence[World] = CASES) -> dict[str, list[dict[str, Any]]]:
    """What stands in the folder, by case and in the order of the seeds."""
    found = {}
    for world in cases:
        path = _file(folder, world)
        rows = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
        found[world.name] = sorted(rows, key=lambda row: row["seed"])
    return found


def fill(folder: Path, cases: Sequence[World] = CASES) -> None:
    """Judge what is missing, seed by seed over all cases: a run that is cut off says something of each."""
    folder.mkdir(parents=True, exist_ok=True)
    for world, seed in missing(lines_of(folder, cases), cases):
        line = json.dumps(judged(world, seed)) + "\n"
        with _file(folder, world).open("a", encoding="utf-8") as file:
            file.write(line)


def missing(known: dict[str, list[dict[str, Any]]], cases: Sequence[World]) -> Iterator[tuple[World, int]]:
    """The logs that are not judged yet."""
    done = {(name, row["seed"]) for name, rows in known.items() for row in rows}
    for seed in range(max(world.logs for world in cases)):
        for world in cases:
            if seed < world.logs and (world.name, seed) not in done:
                yield world, seed


def _file(folder: Path, world: World) -> Path:
    return folder / f"{world.name.replace(', ', '-').replace(' ', '_')}.jsonl"


def share(hits: int, logs: int) -> str:
    """A share with its exact interval of 95 % (Clopper & Pearson 1934)."""
    if not logs:
        return "n/a"
    low = float(betaincinv(hits, logs - hits + 1, 0.025)) if hits else 0.0
    high = float(betaincinv(hits + 1, logs - hits, 0.975)) if hits < logs else 1.0
    return f"{hits} of {logs}: {100 * hits / logs:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def promised(rows: Sequence[dict[str, Any]], figure: str = METRIC) -> float:
    """The power of the planning formula for the mean true gain, at the mean squared error of these logs.

    Phi(gain / error - z(1 - alpha / 2)): what `engine.ope.plan` solves for the number of decisions.

    Args:
        rows: lines of a case.
        figure: that decides; its error is that of the metric over how much narrower its interval is.
    """
    known = [row for row in rows if row["stderr"] and row["figures"].get(figure, (0, 0, 0))[2]]
    if not known:
        return math.nan
    gain = float(np.mean([row["gain"] for row in known]))
    error = math.sqrt(float(np.mean([(row["stderr"] / row["figures"][figure][2]) ** 2 for row in known])))
    return NormalDist().cdf(gain / error - NormalDist().inv_cdf(1 - known[0]["alpha"] / 2))


def document(found: dict[str, list[dict[str, Any]]]) -> str:
    """The tables, of what was judged."""
    return "\n".join(
        [
            "# What the verdicts are worth",
            "",
            "Made by `python -m experiments.study.verdicts --out FOLDER`: logs of a made-up shop whose truth is known,",
            "brought in and judged as by `tactful import` and `tactful backtest`, every default as it ships. Shares",
            "have exact intervals of 95 %.",
            "",
            "## Where no message differs from another",
            "",
            "The verdict of the question may err on the better side in 2.5 % of logs. All other policies of a page,",
            "constants and comparisons among them, share 1 % of error ([intervals](intervals.md)). The last column",
            "asks the question by what answers are worth ([parts](parts.md#other-figures)).",
            "",
            *_nulls(found),
            "",
            "## Power",
            "",
            "Four letters; each kind of contact clicks one of them more. The same logs are judged by the money, by the",
            "money less the contact's own, and by what answers are worth. The planning formula of `tactful plan` is",
            "asked with the mean true gain of the learned policies, and with the mean squared error of the logs.",
            "",
            *_powers(found),
            "",
            "## Following the advice",
            "",
            "What the first screen advises against what the log did, both worth what the world says on fresh contacts.",
            "To stay is worth exactly what today is.",
            "",
            *_advice(found),
            "",
        ]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]


def _nulls(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    rows = []
    for world in NULLS:
        lines = found[world.name]
        own = sum(line["verdict"] == "better" for line in lines)
        page = sum(line["verdict"] == "better" or _better(line["others"]) for line in lines)
        surrogate = [line["figures"][STAGE_WORTH][0] for line in lines if STAGE_WORTH in line["figures"]]
        silent = sum(line["verdict"] == "insufficient" for line in lines)
        rows.append(
            (
                world.name,
                share(own, len(lines)),
                share(page, len(lines)),
                share(silent, len(lines)),
                share(surrogate.count("better"), len(surrogate)),
            )
        )
    head = ("case", "learned policy better", "anything on the page better", "too little data", "better by stage_worth")
    return _table(head, rows)


def _better(others: Sequence[str]) -> bool:
    return any(one.endswith(" better") for one in others)


def _powers(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    rows = []
    for world in POWERS:
        lines = found[world.name]
        for figure in (METRIC, ADJUSTED, STAGE_WORTH) if lines else ():
            judged_by = [line for line in lines if figure in line["figures"]]
            if judged_by:
                gain = float(np.mean([line["gain"] / line["today"] for line in judged_by]))
                size = round(float(np.mean([line["rows"] for line in judged_by])))
                wins = sum(line["figures"][figure][0] == "better" for line in judged_by)
                formula = f"{100 * promised(judged_by, figure):.0f} %"
                rows.append(
                    (world.name, figure, f"{size:,}", f"{100 * gain:+.1f} %", share(wins, len(judged_by)), formula)
                )
    return _table(("case", "judged_by", "decisions that judge", "true gain", "called better", "planning formula"), rows)


def _advice(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    rows = []
    for world in CASES:
        lines = found[world.name]
        if lines:
            launched = sum(line["launch"] == LEARNED for line in lines)
            less = sum(line["followed"] < -_NOTHING for line in lines)
            mean = float(np.mean([line["followed"] / line["today"] for line in lines]))
            rows.append((world.name, share(launched, len(lines)), share(less, len(lines)), f"{100 * mean:+.2f} %"))
    return _table(("case", "launch advised", "advice worth less than today", "mean worth of the advice"), rows)


def main(
    out: Annotated[Path, typer.Option(help="Folder of one file a case; what stands there is not judged again.")],
    only: Annotated[str, typer.Option(help="Judge the cases alone whose name holds this; the document has all.")] = "",
    docs: Annotated[Path, typer.Option(help="The document.")] = DOC,
) -> None:
    """Judge what is missing and write the document."""
    fill(out, [world for world in CASES if only in world.name])
    docs.write_text(document(lines_of(out)), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
