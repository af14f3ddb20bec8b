"""Send now or wait: what waiting is worth, as a charge on every send that the days since the last message decide.

A message is worth g f(t) when the last one was t days ago, and it starts the days anew. Over a long time the best rule
solves the average-reward equation of a renewal process (Ross 1970, chapter 7; Puterman 1994, chapter 8)

    h(t) = E[max(g f(t) + h(1), h(t + 1))] - rate

over the gains g that a contact's decisions offer: send if and only if g f(t) > h(t + 1) - h(1). Two readings of it are
tried. In one every decision's gain is drawn anew, so the charge is in USD; in the other a contact's gain stays what it
is and only what is eligible changes, so the charge is a share of the contact's best gain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from engine.encoder import CategoricalCoding, Encoder, MemoryCoding, standardised
from engine.errors import ArtefactError, ParameterError
from engine.types import Float32Array, FloatArray

# A charge of so many times the best gain leaves no send worth it.
HELD: Final = 2.0
# In steps of the log.
SPACINGS: Final = tuple(range(2, 15))
FACTORS: Final = (0.5, 1.0, 1.5)
MIXED: Final = 0.5
_LONGEST_DAYS: Final = 42
_EDGE: Final = 0.01
_HALVINGS: Final = 40


@dataclass(frozen=True)
class Rule:
    """A charge for sending now, by what the contact was sent before.

    Attributes:
        name: says what it does.
        at: (m,) ascending values: days since the last message, or messages in a window.
        share: (m,) of the contact's best gain that is charged there; interpolated between, constant beyond.
        usd: (m,) USD that are charged beside.
    """

    name: str
    at: tuple[float, ...] = (0.0,)
    share: tuple[float, ...] = (0.0,)
    usd: tuple[float, ...] = (0.0,)

    def charge(self, value: FloatArray, best: FloatArray) -> FloatArray:
        """(n,) USD, from the values and the best gains.

        Args:
            value: (n,) days since the last message, infinite where there was none; or messages in the window.
            best: (n,) gain of the best send, eligible or not, USD.
        """
        share, usd = np.interp(value, self.at, self.share), np.interp(value, self.at, self.usd)
        out: FloatArray = share * np.maximum(best, 0.0) + usd
        return out


NO_WAITING: Final = Rule("no waiting")


@dataclass(frozen=True)
class Waiting:
    """A rule on an encoded context.

    Attributes:
        feature: numeric feature that the rule reads.
        columns: of the encoded context: of the feature's value, of `missing` and of `stale`.
        at: (m,) ascending encoded values.
        share / usd: as in `Rule`.
        rule: the rule's name.
    """

    feature: str
    columns: tuple[int, int, int]
    at: tuple[float, ...]
    share: tuple[float, ...]
    usd: tuple[float, ...]
    rule: str = ""

    def charge(self, x: Float32Array, gains: FloatArray) -> FloatArray:
        """(n,) USD that every send is charged; nothing where the feature is missing or stale.

        Args:
            x: (n, d) encoded contexts.
            gains: (n, k - 1) of every send over hold.
        """
        share, usd = self.factors(x).T
        charged: FloatArray = share * np.maximum(gains.max(axis=1), 0.0) + usd
        return charged

    def factors(self, x: Float32Array) -> FloatArray:
        """(n, 2) share of the contact's best gain, and USD, that are charged in each row."""
        value, missing, stale = (x[:, column].astype(np.float64) for column in self.columns)
        known = missing + stale == 0.0
        charged = [np.where(known, np.interp(value, self.at, own), 0.0) for own in (self.share, self.usd)]
        return np.column_stack(charged)

    def to_builtins(self) -> dict[str, Any]:
        """For a manifest."""
        return dict(vars(self))

    @classmethod
    def read(cls, found: dict[str, Any] | None, d: int) -> Waiting | None:
        """From a manifest.

        Raises:
            ArtefactError: columns outside the encoded context, or knots that do not fit together.
        """
        if found is None:
            return None
        lists = {name: tuple(found[name]) for name in ("columns", "at", "share", "usd")}
        waiting = cls(feature=found["feature"], rule=found["rule"], **lists)
        numbers = np.array([waiting.at, waiting.share, waiting.usd]) if _even(waiting) else np.full((1, 1), np.nan)
        ascending = bool((np.diff(numbers[0]) > 0).all())
        columns = len(waiting.columns) == 3 and all(0 <= column < d for column in waiting.columns)
        if not (np.isfinite(numbers).all() and (numbers[1:] >= 0.0).all() and ascending and columns):
            raise ArtefactError(
                f"the rule of waiting on {waiting.feature!r} does not fit its encoder", hint="train again"
            )
        return waiting


def _even(waiting: Waiting) -> bool:
    return len(waiting.at) == len(waiting.share) == len(waiting.usd) > 0


def encoded(rule: Rule, feature: str, encoder: Encoder) -> Waiting:
    """The rule on the encoded values of a numeric feature of the encoder."""
    coding, columns = next((coding, columns) for coding, columns in encoder.places if coding.name == feature)
    if isinstance(coding, CategoricalCoding | MemoryCoding):
        raise ParameterError("feature", "waiting", allowed="numeric", got=feature)
    at = standardised(coding, np.asarray(rule.at), np.ones(len(rule.at), dtype=np.bool_))[:, 0].astype(np.float64)
    # Values that the encoder does not tell apart share the last of their charges.
    kept = np.flatnonzero(np.append(np.diff(at) > 0.0, True))
    share, usd = (tuple(np.asarray(values)[kept].tolist()) for values in (rule.share, rule.usd))
    return Waiting(
        feature, (columns.start, columns.stop - 2, columns.stop - 1), tuple(at[kept].tolist()), share, usd, rule.name
    )


def every_days(days: float, step: float) -> Rule:
    """Send at most every so many days; half of a step earlier counts as then."""
    edge = days - step / 2.0
    return Rule(f"at most every {days:.3g} days", (edge - _EDGE, edge), (HELD, 0.0), (0.0, 0.0))


def at_most(messages: int, window: float) -> Rule:
    """Send at most so many messages in a window of days."""
    least = float(messages)
    return Rule(f"at most {messages} in {window:g} days", (least - 1.0, least - 0.5), (0.0, HELD), (0.0, 0.0))


def renewal(gains: FloatArray, recovered: FloatArray) -> FloatArray:
    """(T,) what the future loses by a send after t = 1 ... T steps instead of waiting, in the unit of the gains.

    Args:
        gains: (m,) a sample of what a decision offers to a rested contact; 0 where nothing may be sent.
        recovered: (T,) share of it that is there t steps after the last message; constant from T on.
    """
    low, high = 0.0, float(np.maximum(gains, 0.0).mean() * recovered.max(initial=0.0)) + 1e-12
    lost = np.zeros(len(recovered))
    for _ in range(_HALVINGS):
        rate = (low + high) / 2.0
        value, lost = _until_sent(gains, recovered, rate)
        low, high = (rate, high) if value > 0.0 else (low, rate)
    return np.maximum(lost, 0.0)


def _until_sent(gains: FloatArray, recovered: FloatArray, rate: float) -> tuple[float, FloatArray]:
    """h(1) - what starting anew is worth (0) - at a rate per step, and (T,) h(t + 1)."""
    last = gains * recovered[-1]
    # From T on nothing changes: waiting there is worth w with w = E[max(g f, w)] - rate.
    low, high = float(last.min()) - rate, float(last.max())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if np.maximum(last - middle, 0.0).mean() > rate else (low, middle)
    after = np.empty(len(recovered))
    value = low
    for t in range(len(recovered) - 1, -1, -1):
        after[t] = value
        value = float(np.maximum(gains * recovered[t], value).mean()) - rate
    return value, after


def candidates(step: float, rested: FloatArray, offered: FloatArray, recovered: FloatArray) -> tuple[Rule, ...]:
    """The rules that are tried on the days since the last message, no waiting first.

    Args:
        step: days between two decisions.
        rested: (m,) best eligible gain of a sample of decisions, USD.
        offered: (m,) the same as a share of the contact's best gain, eligible or not.
        recovered: (T,) share of the gain that is there t steps after the last message, messages coming so often.
    """
    rules = [NO_WAITING, *(every_days(steps * step, step) for steps in SPACINGS)]
    days = tuple((step * np.arange(1, len(recovered) + 1)).tolist())
    if not (recovered.max(initial=0.0) > 0.0 and rested.max(initial=0.0) > 0.0):
        return tuple(rules)
    share = np.minimum(renewal(offered, recovered) / np.maximum(recovered, 1e-6), HELD)
    usd = renewal(rested, recovered)
    rules += [_worth("a share of the gain", days, share, 0.0 * usd)]
    rules += [_worth(f"USD, times {factor:g}", days, 0.0 * share, factor * usd) for factor in FACTORS]
    rules += [_worth("half a share, half USD", days, MIXED * share, MIXED * usd)]
    return tuple(rules)


def _worth(unit: str, days: tuple[float, ...], share: FloatArray, usd: FloatArray) -> Rule:
    return Rule(f"what waiting is worth, in {unit}", days, tuple(share.tolist()), tuple(usd.tolist()))


def horizon_steps(step: float) -> int:
    """Steps over which waiting is looked at."""
    return max(int(np.ceil(_LONGEST_DAYS / step)), 2)
