"""The whole demonstration: its acts, side by side where there are processors, one picture and one page of text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from importlib import resources
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Final

import msgspec

from engine.catalog import Catalog, catalog_from
from engine.features import FeatureSchema, schema_from
from engine.files.documents import load_yaml
from experiments.demo.act import ActOutput, Say, play_act
from experiments.demo.acts import ACTS, Act, act_named
from experiments.demo.picture import story_picture
from experiments.outputs import CommandOutput
from experiments.report.demo import demo_page
from experiments.report.files import make_folder, write_whole
from experiments.report.words import amount, percent
from experiments.simulate.run_spec import NOTE
from simulator.processes import worker_processes

if TYPE_CHECKING:
    # Lines of acts that play in other processes.
    _Lines = Queue[str]
_PATIENCE_S: Final = 0.2


class DemoOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful demo --json`. Everything in it is SIMULATED.

    Attributes:
        acts: by name, in their order.
        said: all acts in sentences.
        folder / files: where what was made lies.
    """

    acts: dict[str, ActOutput]
    said: tuple[str, ...]
    folder: str
    files: dict[str, str]


def demo(folder: Path, contacts: int, seed: int, say: Say, only: str = "", processes: int | None = None) -> DemoOutput:
    """Play the acts, each in a folder of its own.

    Args:
        folder: everything is written here.
        contacts: of each test campaign, at least 2,000.
        seed: same seed, same files, however many processes there are.
        say: told what happens, a line at a time.
        only: name of the one act to play; "" plays both.
        processes: acts that play at once; None is as many as there are processors.

    Raises:
        ParameterError: there is no such act.
        ConfigError: the folder holds an unfinished demonstration with other arguments.
        StorageError: the folder cannot be written, or a process died.
    """
    acts = [act_named(only)] if only else list(ACTS.values())
    make_folder(folder)
    wanted = min(len(acts), processes or os.cpu_count() or 1)
    if wanted > 1:
        played = _together(acts, folder, contacts, seed, say)
    else:
        played = [play_act(act, folder / act.name, contacts, seed, _named(act, say)) for act in acts]
    by_name = {act.name: output for act, output in zip(acts, played, strict=True)}
    said = tuple(line for output in played for line in (f"{output.title}. {output.story}", *output.said))
    picture = story_picture(played)
    files = {"story": str(write_whole(folder / "story.svg", picture))}
    files["page"] = str(write_whole(folder / "index.html", demo_page(list(by_name.items()), NOTE, picture)))
    files["result"] = str(folder / "result.txt")
    output = DemoOutput(acts=by_name, said=said, folder=str(folder), files=files)
    write_whole(folder / "result.txt", text_of(output))
    # Without the names of folders, so that the same arguments give the same bytes anywhere.
    shown = {
        name: {"live": act.live, "possible": act.possible, "said": act.said, "rule": act.rule}
        for name, act in by_name.items()
    }
    figures = msgspec.to_builtins({"acts": shown, "notes": [NOTE]})
    write_whole(folder / "result.json", msgspec.json.format(msgspec.json.encode(figures), indent=2))
    return output


def _named(act: Act, say: Say) -> Say:
    return lambda line: say(f"{act.name} {line}")


def _together(acts: Sequence[Act], folder: Path, contacts: int, seed: int, say: Say) -> list[ActOutput]:
    """Every act in a process of its own; what they say is passed on as it comes."""
    lines: _Lines = get_context("spawn").Queue()
    with worker_processes(len(acts), _hear, lines) as pool:
        playing = [pool.submit(_play, act, folder / act.name, contacts, seed) for act in acts]
        # A process that died says nothing more, so nobody waits for its words.
        while not all(one.done() for one in playing) and not any(one.done() and one.exception() for one in playing):
            with suppress(Empty):
                say(lines.get(timeout=_PATIENCE_S))
        with suppress(Empty):
            while True:
                say(lines.get(timeout=_PATIENCE_S))
        failed = [one for one in playing if one.done() and one.exception()]
        return [one.result() for one in failed or playing]


_heard: list[_Lines] = []


def _hear(lines: _Lines) -> None:
    _heard.append(lines)


def _play(act: Act, folder: Path, contacts: int, seed: int) -> ActOutput:
    return play_act(act, folder, contacts, seed, _named(act, _heard[0].put))


def text_of(output: DemoOutput) -> str:
    """The acts as plain text, each with its rule as a table."""
    lines = [NOTE]
    for name, act in output.acts.items():
        lines += ["", f"{act.title} ({name})", act.story, "", *act.said, "", "Who gets what, by the learned policy:"]
        lines += [
            f"- {row.who} ({percent(row.share)} of decisions): {row.gets} ({percent(row.gets_share)} of them); "
            f"the segments: {row.today}; {amount(row.gain, 'usd', signed=True)} a decision by the model. "
            f"{row.why}"
            for row in act.rule
        ]
    files = [f"{name}: {Path(path).name}" for name, path in output.files.items()]
    return "\n".join([*lines, "", *files]).replace("\u00a0", " ").replace("\u2212", "-") + "\n"


def shipped_catalog(name: str) -> Catalog:
    """A catalog of `conf/catalog/`.

    Raises:
        ConfigError: the yaml is no catalog.
    """
    return catalog_from(load_yaml((resources.files("conf") / "catalog" / f"{name}.yaml").read_text()), source=name)


def shipped_features(name: str) -> FeatureSchema:
    """A feature schema of `conf/features/`.

    Raises:
        ConfigError: the yaml is no feature schema.
    """
    return schema_from(load_yaml((resources.files("conf") / "features" / f"{name}.yaml").read_text()), source=name)
