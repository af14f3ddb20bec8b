"""Words for people: policies, figures and differences by unit, so that no reader meets a raw float."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from policies.peers.config import is_rule

if TYPE_CHECKING:
    from engine.ope.estimate import Estimate

NAMES: Final[Mapping[str, str]] = {
    "vw": "the learned policy",
    "vw_greedy": "the learned policy, without exploring",
    "vw_matched": "the learned policy, at today's volume",
    "learned_rule": "the learned policy as a rule",
    "static_segments": "segments tuned on this log",
    "merge_tag_blast": "one message for all",
    "logged": "what the log did",
    "uniform": "a choice at random",
    "any_send": "any message",
    "best_action": "the best single message",
    "calendar": "a sending calendar",
    "send_time": "the best hour for each",
    "volume_threshold": "the best message above a threshold",
    "recovering_softmax": "scores that recover with rest",
    "linucb": "a linear bandit (LinUCB)",
    "lin_ts": "a linear bandit (Thompson sampling)",
    "segments": "tuned segments",
    "merge_tag": "one message for all, by merge tags",
    "never": "no message at all",
    "segments_undiscounted": "tuned segments without discounts",
    "segments_of_parts": "segments tuned on what answers are worth",
    "best_observable": "the most that can be observed",
    "planner": "a planner that knows the world",
    "myopic_oracle": "an oracle of single days",
    "vw_parts_greedy": "the learned policy (parts), without exploring",
    "vw_parts": "the learned policy (parts)",
    "vw_parts_safe": "the learned policy (parts), kept safe",
    "vw_parts_memory": "the learned policy (parts), remembering",
    "vw_parts_memory_greedy": "the learned policy (parts), remembering, without exploring",
}
ESTIMATORS: Final[Mapping[str, str]] = {
    "ips": "weighted outcomes",
    "clipped": "weighted outcomes, weights clipped",
    "snips": "weighted means",
    "dm": "the reward model alone",
    "dr": "doubly robust",
    "sndr": "doubly robust, weighted means",
    "mrdr": "doubly robust, model fitted for the policy",
}
LAYERS: Final[Mapping[str, str]] = {
    "delivery": "Delivery quality",
    "engagement": "Engagement",
    "conversion": "Conversion",
    "efficiency": "Efficiency",
    "honesty": "What clicks can hide",
    "volume": "Volume",
}
VERDICTS: Final[Mapping[str, str]] = {
    "better": "better",
    "worse": "worse",
    "no difference": "no clear difference",
    "insufficient": "too little data",
    "pass": "passed",
    "fail": "failed",
    "undecided": "not shown",
    "n/a": "not known",
}
MINUS: Final = "\u2212"
# Of many policies that are shown to be better, so many are named in a sentence.
MOST_NAMED: Final = 5
# Smaller figures are rounding to people.
_TINY: Final = 5e-7
# What keeps a line from breaking before a unit.
GLUE: Final = "\u00a0"


@dataclass(frozen=True)
class Names:
    """Policies in words.

    Attributes:
        hold: the catalog's name of sending nothing.
        baseline: what the learned policy is held against.
    """

    hold: str = "hold"
    baseline: str = "logged"

    def __call__(self, policy: str) -> str:
        """A policy in words."""
        if policy in (f"always:{self.hold}", "always:hold"):
            return "no message at all"
        if policy.startswith("column:"):
            return f"your own choice ({policy.removeprefix('column:').removesuffix('@action')})"
        if is_rule(policy):
            return f"your rule ({Path(policy).name})"
        if policy.startswith("always:"):
            return f"always {policy.removeprefix('always:')}"
        tuned, mark, _ = policy.partition("@")
        if mark and tuned in NAMES:
            return f"{NAMES[tuned]}, tuned on another log"
        if policy not in NAMES and ("/" in policy or "\\" in policy):
            return f"the policy in {Path(policy).name}"
        return NAMES.get(policy, policy)


def estimator_in_words(name: str) -> str:
    """An estimator in words, with the name by which commands know it."""
    return f"{ESTIMATORS[name]} ({name})" if name in ESTIMATORS else name


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def listed(names: Sequence[str]) -> str:
    """Names as people list them: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def tried(rows: Sequence[Estimate], what: str, names: Names) -> str:
    """How many of many policies are shown to do better than the same baseline; "" for fewer than two.

    Args:
        rows: one estimate a policy, all by one estimator.
        what: that is tried, in the plural.
        names: policies in words.
    """
    against = [row for row in rows if row.difference is not None and row.difference.baseline != row.policy]
    if len(against) < 2 or against[0].difference is None:
        return ""
    today = names(against[0].difference.baseline)
    judged = [row for row in against if row.verdict != "insufficient"]
    better = [names(row.policy) for row in judged if row.verdict == "better"]
    if not judged:
        return f"{capital(what)} tried: {len(against)}; the log holds too little to judge any of them."
    some = (
        f"{len(judged)} {what} tried"
        if len(judged) == len(against)
        else (f"{len(against)} {what} tried, {len(judged)} can be judged; of these")
    )
    if not better:
        return f"Of {some}, none is shown to do better than {today}."
    more = f" and {len(better) - MOST_NAMED} more" if len(better) > MOST_NAMED else ""
    named = f"{', '.join(better[:MOST_NAMED])}{more}" if more else listed(better)
    are = "is" if len(better) == 1 else "are"
    return f"Of {some}, {len(better)} {are} shown to do better than {today}: {named}."


def digits_of(value: float, significant: int = 3) -> int:
    """Decimal places that leave so many significant digits, 0 to 5."""
    if value == 0.0 or not math.isfinite(value):
        return 0
    return min(max(significant - 1 - math.floor(math.log10(abs(value))), 0), 5)


def amount(value: float | None, unit: str, *, signed: bool = False, like: float | None = None) -> str:
    """A figure by its unit: 3.2 %, $0.085, 1,204; "n/a" where there is none.

    Args:
        value: the figure in its unit.
        unit: "share", "usd" or any other.
        signed: whether a plus is written; shares then become percentage points.
        like: a figure beside which it stands and whose decimals it takes.
    """
    if value is None or math.isnan(value):
        return "n/a"
    scale = 100.0 if unit == "share" else 1.0
    size = abs(value if like is None else like) * scale
    places = digits_of(size, 2 if unit == "share" else 3)
    number = f"{abs(value) * scale:,.{places}f}"
    zero = not any(digit in "123456789" for digit in number)
    number = "0" if zero and like is None else number
    sign = "" if zero else MINUS if value < 0 else "+" if signed else ""
    if unit == "share":
        return f"{sign}{number}{GLUE}{'pts' if signed else '%'}"
    return f"{sign}${number}" if unit == "usd" else f"{sign}{number}"


def unbroken(page: str) -> str:
    """A page in which no line ends between the minus and the dollar of an amount; a terminal would show the joiner."""
    return page.replace(f"{MINUS}$", f"{MINUS}\u2060$")


def between(low: float | None, high: float | None, unit: str, *, signed: bool = False) -> str:
    """An interval by its unit; "no interval" where there is none."""
    if low is None or high is None:
        return "no interval"
    size = max(abs(low), abs(high))
    return f"{amount(low, unit, signed=signed, like=size)} to {amount(high, unit, signed=signed, like=size)}"


def percent(value: float | None) -> str:
    """A share as whole percent where that says enough."""
    if value is None:
        return "n/a"
    shown = 100.0 * value
    if 0.0 < shown < 0.1:
        return f"<{GLUE}0.1{GLUE}%"
    return f"{shown:.0f}{GLUE}%" if shown >= 10 or shown == 0 else f"{shown:.1f}{GLUE}%"


def figure_text(value: float | None, digits: int = 4) -> str:
    """A figure for people: `digits` significant digits (all those before the point), "n/a" where there is none."""
    if value is None:
        return "n/a"
    if value and abs(value) < _TINY:
        return "about 0"
    if abs(value) >= 10**digits or not math.isfinite(value):
        return f"{value:.0f}"
    shown = f"{value:.{digits}g}"
    return shown if "e" not in shown else f"{value:.7f}".rstrip("0")


def interval_text(low: float | None, high: float | None) -> str:
    """An interval for people."""
    return "n/a" if low is None or high is None else f"{figure_text(low)} to {figure_text(high)}"


def p_value_text(value: float | None) -> str:
    """A p-value for people."""
    return "n/a" if value is None else "below 0.001" if value < 0.001 else f"{value:.2g}"
