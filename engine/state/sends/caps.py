"""Whether one more send fits: rolling windows and minimum gaps, exact in both directions of time.

A window of length W is half-open: it holds two sends x < y where y - x < W. So "at most m sends in any window" forbids
a new send at t exactly where m of the counted sends and t together span less than W. For m sends in a row that span
less than W themselves, these t are the open interval (last - W, first + W); a group that spans W or more forbids
nothing. The union of these intervals over all groups of m in a row is everything that is forbidden: windows that end
at t, windows that a later planned send ends, and all in between. A minimum gap is the case m = 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from engine.errors import ParameterError
from engine.state.checks import require_choice, require_depth, require_id, require_micros, require_span
from engine.types import MICROSECONDS_PER_S, PURPOSES

FIELDS: Final = ("channel", "topic", "template", "category")

Span = tuple[int, int]


@dataclass(frozen=True)
class SendRequest:
    """A send that is wanted, or one that counts already.

    Attributes:
        decision_id: idempotency key.
        contact_id: pseudonym.
        channel: name.
        purpose: one of `PURPOSES`.
        send_at: planned instant, microseconds.
        topic: subject matter, or "".
        template: arm, or "".
        category: product category, or "".
        discount: depth in [0, 1); None is not known.
    """

    decision_id: str
    contact_id: str
    channel: str
    purpose: str
    send_at: int
    topic: str = ""
    template: str = ""
    category: str = ""
    discount: float | None = None

    def __post_init__(self) -> None:
        for name in ("decision_id", "contact_id", "channel"):
            require_id(name, "SendRequest", getattr(self, name))
        require_choice("purpose", "SendRequest", self.purpose, PURPOSES)
        require_micros("send_at", "SendRequest", self.send_at)
        require_depth("SendRequest", self.discount)


def may_be(name: str, other: str) -> bool:
    """Whether two details of sends are the same, or may be: one that is not known may be any."""
    return unnamed(name) or unnamed(other) or name == other


def unnamed(name: str | None) -> bool:
    """Whether a detail of a send is not known: nothing, or nothing but blanks."""
    return not name or not name.strip()


class SendRule(Protocol):
    """A limit on the sends to one contact.

    `applies(request)`: whether the limit concerns a wanted send. `counts(request, other)`: whether another send of the
    same contact uses up the limit of this one. At most `max` sends, the wanted one included, in any window; None is no
    limit, 0 is never.
    """

    @property
    def name(self) -> str: ...

    @property
    def max(self) -> int | None: ...

    @property
    def window_us(self) -> int: ...

    def applies(self, request: SendRequest) -> bool: ...

    def counts(self, request: SendRequest, other: SendRequest) -> bool: ...


@dataclass(frozen=True)
class Cap:
    """At most `max` sends in any rolling window.

    Attributes:
        name: given as the reason of a refusal.
        max: sends allowed; None is no cap, 0 is never.
        window_s: seconds; a send exactly that long ago no longer counts.
        channels: sends on these channels count and are capped; None is all channels together.
        purposes: purposes that count and are capped.
        same: only sends that agree with the wanted one in these fields count ("topic": the cap is per topic); where a
            field is not known of either, they may agree, and count.
    """

    name: str
    max: int | None
    window_s: int
    channels: tuple[str, ...] | None = None
    purposes: tuple[str, ...] = ("promotional",)
    same: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_id("name", "Cap", self.name)
        if self.max is not None and (isinstance(self.max, bool) or self.max < 0):
            raise ParameterError("max", f"cap {self.name!r}", allowed="0 or more, or None for no cap", got=self.max)
        require_span("window_s", f"cap {self.name!r}", self.window_s)
        for purpose in self.purposes:
            require_choice("purposes", f"cap {self.name!r}", purpose, PURPOSES)
        for field in self.same:
            require_choice("same", f"cap {self.name!r}", field, FIELDS)

    @property
    def window_us(self) -> int:
        return round(self.window_s * MICROSECONDS_PER_S)

    def applies(self, request: SendRequest) -> bool:
        """Whether the rule is for the request's channel and purpose."""
        return request.purpose in self.purposes and (self.channels is None or request.channel in self.channels)

    def counts(self, request: SendRequest, other: SendRequest) -> bool:
        """Whether another send counts: its channel and purpose, and the fields that must agree."""
        return self.applies(other) and all(
            may_be(getattr(request, field), getattr(other, field)) for field in self.same
        )


def gap(
    name: str, seconds: int, *, channels: tuple[str, ...] | None = None, purposes: tuple[str, ...] = ("promotional",)
) -> Cap:
    """A minimum gap between any two sends, in both directions."""
    return Cap(name, 1, seconds, channels=channels, purposes=purposes)


@dataclass(frozen=True)
class Separation:
    """Never one of `left` within a window of one of `right`, whichever comes first; what is not known may be either.

    Attributes:
        name: given as the reason of a refusal.
        window_s: seconds.
        field: what `left` and `right` name: channel, topic, template or category.
        left: values on one side.
        right: values on the other side.
    """

    name: str
    window_s: int
    field: str
    left: tuple[str, ...]
    right: tuple[str, ...]

    def __post_init__(self) -> None:
        require_id("name", "Separation", self.name)
        require_span("window_s", f"separation {self.name!r}", self.window_s)
        require_choice("field", f"separation {self.name!r}", self.field, FIELDS)

    @property
    def max(self) -> int:
        return 1

    @property
    def window_us(self) -> int:
        return round(self.window_s * MICROSECONDS_PER_S)

    def applies(self, request: SendRequest) -> bool:
        """Where the wanted send stands on either side, or may."""
        return self._on(self.left, request) or self._on(self.right, request)

    def counts(self, request: SendRequest, other: SendRequest) -> bool:
        """Where the two stand on opposite sides, or may."""
        return (self._on(self.left, request) and self._on(self.right, other)) or (
            self._on(self.right, request) and self._on(self.left, other)
        )

    def _on(self, side: tuple[str, ...], send: SendRequest) -> bool:
        name: str = getattr(send, self.field)
        return unnamed(name) or name in side


@dataclass(frozen=True)
class Conflict:
    """Why a send does not fit.

    Attributes:
        reasons: names of the rules that it would break.
        next_allowed_at: first later instant at which it would fit if nothing else changes; None where there is none.
    """

    reasons: tuple[str, ...]
    next_allowed_at: int | None


def forbidden_spans(times: Sequence[int], most: int, window_us: int) -> list[Span]:
    """Open intervals in which one more send would exceed `most` in some window.

    Args:
        times: sorted instants of the sends that count.
        most: 1 or more.
        window_us: length of the window, microseconds.
    """
    groups = zip(times, times[most - 1 :], strict=False)
    return [(last - window_us, first + window_us) for first, last in groups if last - first < window_us]


def conflict(request: SendRequest, others: Iterable[SendRequest], rules: Sequence[SendRule]) -> Conflict | None:
    """The rules that a send would break, or None where it fits.

    Args:
        request: the wanted send.
        others: the sends of the same contact that count, in any order.
        rules: all of them must hold.
    """
    wanted_at = request.send_at
    ordered = sorted(others, key=lambda other: other.send_at)
    reasons: list[str] = []
    never = False
    spans: list[Span] = []
    for rule in rules:
        if rule.max is None or not rule.applies(request):
            continue
        if rule.max == 0:
            never = True
            reasons.append(rule.name)
            continue
        times = [other.send_at for other in ordered if rule.counts(request, other)]
        closed = forbidden_spans(times, rule.max, rule.window_us)
        spans.extend(closed)
        if any(start < wanted_at < end for start, end in closed):
            reasons.append(rule.name)
    if not reasons:
        return None
    return Conflict(tuple(reasons), None if never else first_free(wanted_at, spans))


def first_free(instant: int, spans: Iterable[Span]) -> int:
    """First instant at or after the given one that lies in none of the open intervals."""
    for start, end in sorted(spans):
        if start < instant < end:
            instant = end
    return instant


def longest_window_us(rules: Sequence[SendRule]) -> int:
    """Length of the longest window, 0 without rules."""
    return max((rule.window_us for rule in rules), default=0)
