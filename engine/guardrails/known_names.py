"""The names in conditions and in parameters of rules, held against the catalog before anything is judged by them.

A pause, a count or a cap under a name that nothing has would do nothing, and nobody would see that it does nothing. So
every such name is put into the catalog's own spelling, or refused with the nearest one that there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from engine.catalog import Catalog
from engine.contacts.places import state_cell
from engine.errors import ConfigError, ParameterError
from engine.guardrails.brakes import RATES
from engine.guardrails.conditions import ChannelHealth, Conditions
from engine.guardrails.lint.params import DAYS
from engine.names import did_you_mean, known_channel, known_name, may_mean
from engine.time.zones import COUNTRIES_WITH_STATES, states_of

EVERY: Final = "*"
_COUNTED: Final = ("health", "sent_today", "sent_yesterday", "sent_7d")
# Parameters of rules that name channels, by list and by key.
_CHANNELS: Final = ("channels", "channel", "pause_channels")
_BY_CHANNEL: Final = ("windows", "allowed", "send_cost_usd")

V = TypeVar("V")


def known_conditions(conditions: Conditions, catalog: Catalog) -> Conditions:
    """The same conditions in the names of the catalog.

    Raises:
        ConfigError: a channel, arm, state or rate that does not exist, or one that is named twice.
    """
    try:
        changes = _changes(conditions, catalog)
    except ParameterError as error:
        raise ConfigError(f"the conditions cannot be used: {error.message}", hint=error.hint) from error
    changed = {name: value for name, value in changes.items() if value != getattr(conditions, name)}
    return msgspec.structs.replace(conditions, **changed) if changed else conditions


def _changes(conditions: Conditions, catalog: Catalog) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for field in _COUNTED:
        counts: Mapping[str, Any] | None = getattr(conditions, field)
        if counts:
            changes[field] = _renamed(counts, partial(_channel, catalog, field), field)
    if conditions.health:
        changes["health"] = {name: _known_health(health) for name, health in changes["health"].items()}
    if conditions.paused_channels:
        named = partial(_channel, catalog, "paused_channels")
        changes["paused_channels"] = frozenset(map(named, conditions.paused_channels))
    if conditions.paused_arms:
        changes["paused_arms"] = _arms(conditions.paused_arms, catalog, "paused_arms")
    if conditions.paused_states:
        states = (known_state(name, "Conditions", "paused_states") for name in conditions.paused_states)
        changes["paused_states"] = frozenset(states)
    return changes


def known_params(params: Mapping[str, Any], catalog: Catalog, owner: str) -> dict[str, Any]:
    """The parameters of a shipped rule in the names of the catalog.

    A usual channel that the catalog does not have may be named, and so may an arm: a pack serves several catalogs. An
    arm to be paused that is near one of the catalog's pauses that one.

    Raises:
        ParameterError: a channel or state that does not exist.
    """

    def channel(name: str, field: str) -> str:
        return name if name == EVERY else known_channel(name, catalog.channels, owner=owner, parameter=field)

    def walked(value: Any, field: str) -> Any:
        if isinstance(value, Mapping):
            named = {key: walked(item, str(key)) for key, item in value.items()}
            if field in _BY_CHANNEL and not _is_week(value):
                return _renamed(named, lambda name: channel(name, field), field)
            return named
        if field in _CHANNELS and isinstance(value, str):
            return channel(value, field)
        if field in _CHANNELS and _are_names(value):
            return list(dict.fromkeys(channel(name, field) for name in value))
        if field == "pause_arms" and _are_names(value):
            return sorted({meant for name in value for meant in may_mean(name, _arms_of(catalog)) or {name}})
        if isinstance(value, list | tuple):
            return [walked(item, "") for item in value]
        return value

    walked_params: dict[str, Any] = walked(params, "")
    if _are_names(params.get("states")) and "country" not in params:
        walked_params["states"] = [known_state(name, owner, "states") for name in params["states"]]
    return walked_params


def known_state(name: str, owner: str, parameter: str) -> str:
    """The code of a state or province; of a country whose states we do not know only with the country's code before it.

    Raises:
        ParameterError: no such state.
    """
    code = state_cell(name)
    ours = frozenset().union(*map(states_of, COUNTRIES_WITH_STATES))
    if not code or not (code in ours or "-" in name):
        raise ParameterError(
            parameter,
            owner,
            allowed="codes of states, like FL or US-FL",
            got=name,
            hint=f"{did_you_mean(name, sorted(ours))}write the code of the state, not its name",
        )
    return code


def _channel(catalog: Catalog, parameter: str, name: str) -> str:
    return known_channel(name, catalog.channels, owner="Conditions", parameter=parameter)


def _arms(names: Iterable[str], catalog: Catalog, parameter: str) -> frozenset[str]:
    """Arms, and blocks of which arms are assembled."""
    known, owner = _arms_of(catalog), f"the catalog {catalog.name!r}"
    return frozenset(known_name(name, known, owner=owner, parameter=parameter) for name in names)


def _arms_of(catalog: Catalog) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for arm in catalog.arms for name in (arm.id, *arm.blocks)))


def _known_health(health: ChannelHealth) -> ChannelHealth:
    def rate(name: str) -> str:
        return known_name(name, RATES, owner="ChannelHealth", parameter="held")

    held = _renamed(health.held, rate, "held")
    return health if held == health.held else msgspec.structs.replace(health, held=held)


def _renamed(table: Mapping[str, V], name_of: Callable[[str], str], field: str) -> dict[str, V]:
    renamed: dict[str, V] = {}
    for name, value in table.items():
        meant = name_of(name)
        if meant in renamed:
            raise ParameterError(field, "names", allowed=f"{meant!r} once", got=sorted(table))
        renamed[meant] = value
    return renamed


def _is_week(table: Mapping[Any, Any]) -> bool:
    """Whether the keys are days, as in the windows of one place: those of channels have weeks as values."""
    return bool(table) and all(str(key).split("-")[0] in DAYS for key in table)


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, str) for item in value)
