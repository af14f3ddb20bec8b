"""A scenario: one use case with its world, from `conf/scenario/NAME.yaml`.

Parts are named by `part`: a shipped name, or "package.module:Class" of a package that the caller allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, get_type_hints

import msgspec

from engine.catalog import Catalog, catalog_from
from engine.classes import class_named
from engine.content.eligibility import refuse_modular
from engine.errors import ConfigError, ParameterError, reason_of
from engine.features import FeatureSchema, schema_from
from engine.files.shipped import read_yaml
from engine.guardrails.pack import Pack, load_pack
from simulator.people.population import Population, ShopperPopulation
from simulator.people.register import Register
from simulator.world.delay import CurveDelay, Delay
from simulator.world.dynamics import DynamicsModel, ShopperDynamics
from simulator.world.faults import Fault
from simulator.world.happened import Money
from simulator.world.observe import Observation
from simulator.world.response import ResponseModel
from simulator.world.shopper_response import ShopperResponse
from simulator.world.timing import Calendar, SeasonalCalendar, Trigger

# kind of part -> shipped name -> class.
PARTS: Final[Mapping[str, Mapping[str, type[Any]]]] = {
    "population": {"shoppers": ShopperPopulation},
    "response": {"shoppers": ShopperResponse},
    "dynamics": {"shoppers": ShopperDynamics},
    "delay": {"curves": CurveDelay},
    "calendar": {"seasonal": SeasonalCalendar},
}

# kind of part -> what its protocol asks of a class.
METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "population": ("people",),
    "response": ("bind",),
    "dynamics": ("bind",),
    "delay": ("delay_us",),
    "calendar": ("now", "levels"),
}


class ScenarioSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The yaml of a scenario.

    Attributes:
        name: name of the use case; written into each decision.
        description: one line.
        trigger: who is decided for.
        outcome: the event that counts as a conversion, in the words of the use case.
        attribution_window_days: an order so many days after a decision is credited to it.
        risk_class: low, medium or high: how much harm a wrong message does.
        catalog / features / guardrails: names of yaml files in conf/catalog, conf/features and conf/guardrails; several
            files of features are read as one.
        calibration: names of yaml files in conf/calibration, whose fitted numbers go into the parts before the
            scenario's own; later ones replace earlier ones.
        money: prices.
        observation: how well the sender sees.
        register: what is on record for the guardrail rules.
        population / response / dynamics / delay / calendar: `part` and its parameters.
        faults: what goes wrong on purpose.
        claims: ids of published figures that the scenario claims to meet (docs/calibration.md).

    """

    name: str
    description: str
    trigger: Trigger
    outcome: str
    attribution_window_days: float
    risk_class: Literal["low", "medium", "high"]
    catalog: str
    calibration: tuple[str, ...] = ("base",)
    features: str | tuple[str, ...] = "simulated"
    guardrails: str = "default"
    money: Money = Money()
    observation: Observation = Observation()
    register: Register = Register()
    population: dict[str, Any] = {}
    response: dict[str, Any] = {}
    dynamics: dict[str, Any] = {}
    delay: dict[str, Any] = {}
    calendar: dict[str, Any] = {}
    faults: tuple[Fault, ...] = ()
    claims: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 < self.attribution_window_days <= 90.0:
            raise ParameterError(
                "attribution_window_days", self.name, allowed="in (0, 90]", got=self.attribution_window_days
            )


@dataclass(frozen=True)
class Scenario:
    """A scenario with its parts made.

    Attributes:
        spec: as configured.
        catalog / features / pack: what decisions are over, see and must keep to.
        population / response / dynamics / delay / calendar: the parts; response and dynamics unbound.
    """

    spec: ScenarioSpec
    catalog: Catalog
    features: FeatureSchema
    pack: Pack
    population: Population
    response: ResponseModel
    dynamics: DynamicsModel
    delay: Delay
    calendar: Calendar
    packages: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def step_days(self) -> float:
        return (self.calendar.now(1) - self.calendar.now(0)).total_seconds() / 86_400.0

    def with_faults(self, *faults: Fault) -> Scenario:
        """The same scenario with other faults."""
        return replace(self, spec=msgspec.structs.replace(self.spec, faults=faults))


def load_scenario(name: str, changes: Mapping[str, Any] | None = None, packages: tuple[str, ...] = ()) -> Scenario:
    """A scenario of `conf/scenario/`.

    Args:
        name: name of the yaml.
        changes: keys that replace those of the yaml; mappings are merged.
        packages: top-level packages from which parts may be imported, beside ours.

    Raises:
        ConfigError: no such scenario, or one that cannot be used.
    """
    data = shipped_yaml("scenario", name)
    return scenario_from(merged(data, changes or {}), packages, source=f"conf/scenario/{name}.yaml")


def scenario_from(data: Any, packages: tuple[str, ...] = (), *, source: str = "scenario") -> Scenario:
    """Make a scenario from plain data.

    Raises:
        ConfigError: unknown key or part, or a value out of range.
    """
    try:
        spec = msgspec.convert(data, ScenarioSpec)
    except (msgspec.ValidationError, ParameterError) as error:
        why = reason_of(error)
        raise ConfigError(f"{source} is no scenario: {why}", hint="see docs/simulator.md for every key") from error
    features = _features(spec.features)
    fitted: dict[str, Any] = {}
    for name in spec.calibration:
        fitted = merged(fitted, shipped_yaml("calibration", name)["parts"])
    parts = {kind: make_part(kind, _with_fit(kind, fitted, getattr(spec, kind)), packages) for kind in PARTS}
    catalog = catalog_from(shipped_yaml("catalog", spec.catalog), source=f"conf/catalog/{spec.catalog}.yaml")
    refuse_modular(catalog, "a simulation")
    return Scenario(
        spec=spec, catalog=catalog, features=features, pack=load_pack(spec.guardrails), packages=packages, **parts
    )


def _with_fit(kind: str, fitted: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A part's own parameters over the fitted ones; what was fitted for another part is no number of this one."""
    fit, shipped = fitted.get(kind, {}), next(iter(PARTS[kind]))
    same = fit.get("part", shipped) == own.get("part", shipped)
    return merged(fit if same else {}, own)


def _features(names: str | tuple[str, ...]) -> FeatureSchema:
    named = (names,) if isinstance(names, str) else names
    together = [one for name in named for one in shipped_yaml("features", name)["features"]]
    return schema_from({"features": together}, source=" and ".join(f"conf/features/{name}.yaml" for name in named))


def make_part(kind: str, params: Mapping[str, Any], packages: tuple[str, ...] = ()) -> Any:
    """A part with its parameters.

    Args:
        kind: population, response, dynamics, delay or calendar.
        params: `part` (default: the shipped one) and the part's own fields.
        packages: top-level packages from which parts may be imported, beside ours.

    Raises:
        ConfigError: unknown part, unknown parameter, or a value out of range.
    """
    shipped = PARTS[kind]
    name = str(params.get("part", next(iter(shipped))))
    part = shipped[name] if name in shipped else _foreign(kind, name, packages)
    values = {key: value for key, value in params.items() if key != "part"}
    try:
        return msgspec.convert(_with_defaults(part, values), part)
    except (msgspec.ValidationError, ParameterError) as error:
        raise ConfigError(
            f"the {kind} {name!r} cannot use its parameters: {reason_of(error)}", hint="see docs/simulator-numbers.md"
        ) from error


def _with_defaults(part: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """Numbers per channel, level or stage replace single entries of the default, not all of it."""
    if not (isinstance(part, type) and issubclass(part, msgspec.Struct)):
        return values
    merge = {name for name, hint in get_type_hints(part).items() if str(hint).startswith("dict[str, float")}
    shares = {"zones", "sources", "categories", "hour_kinds", "motives", "stages"}
    defaults = {spec.name: spec.default_factory for spec in msgspec.structs.fields(part)}
    out = dict(values)
    for name in (merge - shares) & set(values):
        factory = defaults[name]
        if isinstance(values[name], Mapping) and factory is not msgspec.NODEFAULT:
            out[name] = {**factory(), **values[name]}
    return out


def _foreign(kind: str, name: str, packages: tuple[str, ...]) -> type[Any]:
    module, _, attribute = name.partition(":")
    if attribute and module.partition(".")[0] in packages:
        hint = f"a {kind} is a class with {' and '.join(METHODS[kind])}; see docs/simulator.md, A part of your own"
        return class_named(
            module, attribute, packages=packages, owner=f"the {kind}", what=kind, members=METHODS[kind], hint=hint
        )
    raise ConfigError(
        f"unknown {kind} {name!r}",
        hint=f"shipped: {', '.join(PARTS[kind])}; a part of your own is written package.module:Class, and its package "
        "must be allowed",
    )


def shipped_yaml(group: str, name: str) -> Any:
    """The plain data of `conf/GROUP/NAME.yaml`.

    Raises:
        ConfigError: no such file.
    """
    return read_yaml(group, name, what=group, paths=False)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with the entries of another put over it, mappings within mappings merged alike."""
    out = dict(base)
    for key, value in changes.items():
        old = out.get(key)
        out[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return out


class FaultFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A yaml of conf/fault/.

    Attributes:
        faults: at least one; as in a scenario.
    """

    faults: tuple[Fault, ...]

    def __post_init__(self) -> None:
        if not self.faults:
            raise ParameterError("faults", "a fault scenario", allowed="at least one fault", got=self.faults)


def faults_from(data: Any, *, source: str = "fault scenario") -> tuple[Fault, ...]:
    """Validate plain data as faults.

    Raises:
        ConfigError: unknown key, wrong type, or a value out of range.
    """
    try:
        return msgspec.convert(data, FaultFile).faults
    except (msgspec.ValidationError, ParameterError) as error:
        raise ConfigError(
            f"{source} is no fault scenario: {reason_of(error)}", hint="see docs/simulator.md for every fault"
        ) from error


def with_faults(scenario: Scenario, *names: str) -> Scenario:
    """A scenario with the faults of conf/fault/NAME.yaml, after its own.

    Raises:
        ConfigError: no such fault scenario, or a fault on a channel that the catalog does not have.
    """
    added = [
        one for name in names for one in faults_from(shipped_yaml("fault", name), source=f"conf/fault/{name}.yaml")
    ]
    for fault in added:
        if fault.channel and fault.channel not in scenario.catalog.channels:
            raise ConfigError(
                f"the fault {fault.kind!r} is on the channel {fault.channel!r}, which the catalog does not have",
                hint=f"its channels are {', '.join(scenario.catalog.channels)}",
            )
    return scenario.with_faults(*scenario.spec.faults, *added)
