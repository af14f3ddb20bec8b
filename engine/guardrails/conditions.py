"""What rules read that belongs to the sender, not to the contact: the use case, volumes, rates, switches.

Nothing here has a default that lets a message pass: what nobody said is unknown, and rules that need it remove what is
in their scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from engine.errors import ConfigError, ParameterError, reason_of
from engine.files.documents import load_yaml
from engine.names import near_key


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A brake as its last daily look left it (`engine.guardrails.brakes.review`).

    Attributes:
        tier: name of the tier that is on.
        days_below: straight days on which the rate was below the tier's release limit.
        day: of the last look, days since 1970.
    """

    tier: str
    days_below: int = 0
    day: int = 0


class ChannelHealth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Counts of one channel over the window that its brakes look at, and the brakes that are on already.

    Attributes:
        sent: dispatched sends.
        complaints / hard_bounces / carrier_filtered / opt_outs: reported in the window; reports of earlier sends are
            among them, so they may be more than `sent`.
        held: rate -> brake that was on at the last look, for hysteresis; a rate without an entry is free.
    """

    sent: int
    complaints: int = 0
    hard_bounces: int = 0
    carrier_filtered: int = 0
    opt_outs: int = 0
    held: Mapping[str, Held] = {}

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in self.__struct_fields__ if name != "held"}
        for name, count in counts.items():
            if count < 0:
                raise ParameterError(name, "ChannelHealth", allowed="0 or more", got=count)


class Conditions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The sender's side of a scene at one instant.

    Attributes:
        use_case: that the decisions are for; "" where none.
        health: channel -> its health; a channel that is absent is unknown, and brakes hold it.
        sent_today / sent_yesterday / sent_7d: channel -> dispatched promotional sends, the last over seven days with
            today; None where nobody counted, and a channel that is absent was not counted.
        killed: the kill switch; None where nobody said, which stops everything as well.
        paused_channels / paused_arms / paused_use_cases: names of what is paused.
        paused_states: states with a declared emergency ("FL").
        dispatching: the send leaves now (`engine.guardrails.recheck`): thinning has been done at the decision.
    """

    use_case: str = ""
    health: Mapping[str, ChannelHealth] | None = None
    sent_today: Mapping[str, int] | None = None
    sent_yesterday: Mapping[str, int] | None = None
    sent_7d: Mapping[str, int] | None = None
    killed: bool | None = None
    paused_channels: frozenset[str] = frozenset()
    paused_arms: frozenset[str] = frozenset()
    paused_use_cases: frozenset[str] = frozenset()
    paused_states: frozenset[str] = frozenset()
    dispatching: bool = False

    def __post_init__(self) -> None:
        for name in ("sent_today", "sent_yesterday", "sent_7d"):
            counts: Mapping[str, int] = getattr(self, name) or {}
            if any(count < 0 for count in counts.values()):
                raise ParameterError(name, "Conditions", allowed="0 or more", got=dict(counts))

    def to_builtins(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars, for file footers; what was not said is left out."""
        built: dict[str, Any] = msgspec.to_builtins(self, order="sorted")
        return built


# Nothing is known of the sender: rules that need it remove what is in their scope.
NOTHING_SAID = Conditions()


def conditions_from(data: Any, *, source: str = "conditions") -> Conditions:
    """Validate plain data as conditions.

    Raises:
        ConfigError: unknown key, wrong type, or a value out of range.
    """
    try:
        return msgspec.convert(data, Conditions)
    except (msgspec.ValidationError, ParameterError) as error:
        hint = f"{near_key(str(error), Conditions)}see docs/brakes.md"
        raise ConfigError(f"{source} holds no conditions: {reason_of(error)}", hint=hint) from error


def load_conditions(path: str | Path) -> Conditions:
    """Read conditions from a yaml or JSON file.

    Raises:
        ConfigError: no such file, no yaml, or no valid conditions.
    """
    try:
        data = load_yaml(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{path} cannot be read: {reason_of(error)}", hint="give a yaml or JSON file of conditions"
        ) from error
    return conditions_from(data, source=str(path))
