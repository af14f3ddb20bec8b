"""The picture of a contact's timeline: messages by local hour with their fate, events, latent state, reward.

Colours are those of Okabe & Ito (2008), told apart with any colour vision; channels differ in shape as well.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from simulator.envs.timeline import Timeline
from simulator.people.people import HOUR_KINDS, MOTIVES, STAGES
from simulator.world.attention import PEAKS

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS: Final = ("o", "^", "s", "D", "v", "P")
INK, FAINT, READS, WANTS = "#222222", "#8a8a8a", "#f3ead2", "#d7e8f5"
ORGANIC: Final = "#117733"
# Rows of the panel of events, bottom to top: name, key of the story, marker; in the colour of the message's channel.
EVENTS: Final = (
    ("complaint", "complained", "X"),
    ("unsubscribe", "unsubscribed", "X"),
    ("message order", "message_order", "*"),
    ("organic order", "organic", "*"),
)
SIZE_INCHES: Final = (12.0, 8.0)
DPI: Final = 100


def picture(timeline: Timeline, steps: int) -> NDArray[np.uint8]:
    """The timeline so far as an image.

    Args:
        timeline: what happened to one contact.
        steps: length of the episode; the axis of days covers all of it.

    Returns:
        (height, width, 3) uint8.
    """
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI)
    panels = figure.subplots(4, 1, sharex=True, gridspec_kw={"height_ratios": [3.0, 1.3, 2.2, 1.8], "hspace": 0.12})
    figure.subplots_adjust(left=0.1, right=0.815, top=0.92, bottom=0.07)
    days = steps * timeline.world.scenario.step_days
    now = (len(timeline.days) - 0.5) * timeline.world.scenario.step_days
    for panel in panels:
        _plain(panel)
        panel.set_xlim(-0.5, days - 0.5)
        panel.axvline(now, color=FAINT, lw=0.8)
    panels[0].annotate("now", (now, 24.0), (-3, -9), ha="right", textcoords="offset points", fontsize=8.5, color=FAINT)
    _title(figure, timeline, steps)
    _messages(panels[0], timeline)
    _events(panels[1], timeline)
    _latents(panels[2], timeline)
    _reward(panels[3], timeline)
    panels[3].set_xlabel("day")
    buffer = BytesIO()
    figure.savefig(buffer, format="rgba", dpi=DPI)
    pixels = np.frombuffer(buffer.getvalue(), dtype=np.uint8)
    width, height = (round(inches * DPI) for inches in SIZE_INCHES)
    return pixels.reshape(height, width, 4)[:, :, :3].copy()


def _plain(panel: Axes) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="x", color="#e6e6e6", lw=0.6)
    panel.set_axisbelow(True)
    panel.tick_params(labelsize=9)


def _name(panel: Axes, text: str) -> None:
    panel.set_ylabel(text)
    panel.yaxis.set_label_coords(-0.06, 0.5)  # the same for all: the panel of events has long ticks


def _title(figure: Figure, timeline: Timeline, steps: int) -> None:
    world, people = timeline.world, timeline.world.people
    kind, motive = HOUR_KINDS[people.hour_kind[0]], MOTIVES[world.state.motive[0]]
    stage = STAGES[world.state.stage[0]]
    figure.text(0.1, 0.965, str(people.contact_id[0]), fontsize=14, weight="bold", color=INK)
    figure.text(
        0.1,
        0.938,
        f"scenario {world.scenario.name}, step {world.state.step} of {steps}: {stage}, motive {motive}, "
        f"reads {kind.replace('_', ' ')}; sent {len(timeline.messages)}",
        fontsize=10,
        color=INK,
    )


def _key(panel: Axes, handles: list[Any], title: str) -> None:
    panel.legend(
        handles=handles,
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.03),
        frameon=False,
        fontsize=8.5,
        title_fontsize=9,
        alignment="left",
    )


def _messages(panel: Axes, timeline: Timeline) -> None:
    centre, width = PEAKS[HOUR_KINDS[timeline.world.people.hour_kind[0]]]
    for shift in (-24.0, 0.0, 24.0):
        panel.axhspan(centre - width + shift, centre + width + shift, color=READS, zorder=0)
    for message in timeline.messages:
        fate = timeline.stories[message.step]
        colour, marker = _look(message.channel)
        if not fate["delivered"]:
            panel.scatter(message.day, message.hour, marker="x", s=42, color=colour, lw=1.6, zorder=3)
            continue
        face = colour if fate["clicked"] else (_pale(colour) if fate["seen"] else "white")
        panel.scatter(
            message.day, message.hour, marker=marker, s=58, facecolor=face, edgecolor=colour, lw=1.5, zorder=3
        )
    panel.set_ylim(0, 24)
    panel.set_yticks(range(0, 25, 6), [f"{hour:02d}:00" for hour in range(0, 25, 6)])
    _name(panel, "messages\n(local hour)")
    handles: list[Any] = [
        Line2D([], [], ls="", marker=_look(row)[1], color=_look(row)[0], label=name)
        for row, name in enumerate(timeline.world.catalog.channels)
    ]
    fates = (("bounced", "x", FAINT), ("not seen", "o", "white"), ("seen", "o", _pale(FAINT)), ("clicked", "o", FAINT))
    handles += [
        Line2D([], [], ls="", marker=marker, markeredgecolor=FAINT, markerfacecolor=face, label=label)
        for label, marker, face in fates
    ]
    _key(panel, [*handles, Patch(color=READS, label="usual reading time")], "message")


def _events(panel: Axes, timeline: Timeline) -> None:
    channel = {message.step: message.channel for message in timeline.messages}
    for row, (_, key, marker) in enumerate(EVENTS):
        for step, (day, story) in enumerate(zip(timeline.days, timeline.stories, strict=True)):
            if story[key]:
                colour = ORGANIC if key == "organic" else _look(channel[step])[0]
                panel.scatter(day, row, marker=marker, s=90, color=colour, lw=0.5, zorder=3)
    panel.set_yticks(range(len(EVENTS)), [name for name, *_ in EVENTS], fontsize=8.5)
    panel.set_ylim(-0.6, len(EVENTS) - 0.4)
    panel.grid(axis="y", color="#e6e6e6", lw=0.6)
    usd = {name: sum(story[name] for story in timeline.stories) for name in ("order_usd", "organic_usd")}
    panel.text(
        1.022,
        0.98,
        f"orders by message\n${usd['order_usd']:,.0f}\norganic orders\n${usd['organic_usd']:,.0f}",
        transform=panel.transAxes,
        va="top",
        fontsize=8.5,
        color=INK,
    )


def _latents(panel: Axes, timeline: Timeline) -> None:
    days = np.array(timeline.days)
    fatigue = np.array(timeline.fatigue).reshape(len(days), len(timeline.world.catalog.channels))
    for row, name in enumerate(timeline.world.catalog.channels):
        panel.plot(days, fatigue[:, row], color=_look(row)[0], lw=1.8, label=f"fatigue, {name}")
    panel.plot(days, timeline.pressure, color=INK, lw=1.4, ls=(0, (4, 2)), label="pressure, all channels")
    step = timeline.world.scenario.step_days
    for day, wants in zip(timeline.days, timeline.intent, strict=True):
        if wants:
            panel.axvspan(day - 0.5 * step, day + 0.5 * step, color=WANTS, lw=0, zorder=0)
    panel.set_ylim(0.0, 1.1 * max([1.0, *timeline.pressure, *fatigue.ravel()]))
    _name(panel, "stock of\nmessages")
    lines, _ = panel.get_legend_handles_labels()
    _key(panel, [*lines, Patch(color=WANTS, label="intent: wants to buy")], "latent state")


def _reward(panel: Axes, timeline: Timeline) -> None:
    step, margin = timeline.world.scenario.step_days, timeline.world.scenario.spec.money.margin_share
    # From the start of the first step to the end of the last.
    days = np.arange(len(timeline.days) + 1) * step - 0.5 * step
    total = np.cumsum([0.0, *(story["reward_usd"] for story in timeline.stories)])
    organic = np.cumsum([0.0, *(margin * story["organic_usd"] for story in timeline.stories)])
    panel.axhline(0.0, color=FAINT, lw=0.8)
    panel.plot(
        days, organic, color=ORGANIC, lw=1.4, ls=(0, (4, 2)), drawstyle="steps-pre", label="margin of organic orders"
    )
    panel.plot(days, total, color=INK, lw=2.0, drawstyle="steps-pre", label="all reward")
    _name(panel, "so far, usd")
    _key(panel, list(panel.get_legend_handles_labels()[0]), "cumulative")


def _look(channel: int) -> tuple[str, str]:
    return COLOURS[channel % len(COLOURS)], MARKERS[channel % len(MARKERS)]


def _pale(colour: str) -> str:
    """The colour mixed with as much white."""
    channels = [(int(colour[start : start + 2], 16) + 255) // 2 for start in (1, 3, 5)]
    return "#" + "".join(f"{value:02x}" for value in channels)
