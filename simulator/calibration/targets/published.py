"""Published channel figures with their sources (conf/moments/published.yaml), and the assumptions that are swept."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import yaml

from engine.errors import ConfigError, ParameterError, reason_of
from engine.files.documents import load_yaml
from engine.types import FloatArray

Channel = Literal["email", "sms", "push", "any"]
Kind = Literal["P", "S", "V", "R", "D"]
Key = tuple[str, str, str, str, float | None]


class Study(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where figures come from.

    Attributes:
        source: who, with the size of the sample where it is known.
        kind: P publisher's own data, S second-hand quotation, V vendor's advice or survey, R a randomised set,
            D our reading of other rows.
        address: address of the page; "" for our own reading only.
        year: year of the data or the edition; None where the page does not say.
    """

    source: str
    kind: Kind
    address: str
    year: int | None = None

    def __post_init__(self) -> None:
        if bool(self.address) == (self.kind == "D"):
            raise ParameterError("address", "a study", allowed="given, except for our own reading", got=self.address)


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One published figure.

    Attributes:
        id: unique name.
        study: key of its study.
        channel / quantity: what was measured, per send unless the quantity says otherwise.
        value: in `unit`; shares as fractions. None where only bounds or words are published.
        low / high: bounds of a published band.
        unit: "fraction", or what the value counts.
        programme: campaign (to a list) or flow (triggered).
        segment: part of contacts or sends that a simulation can single out (android, weekend); "" all.
        scope: whose data (trade, country, edition); "" all.
        curve / at / at_unit: the curve that it is a point of, where, and in what.
        ratio: what is claimed is the ratio to the first point of the curve, not the level.
        se: standard error, where the source gives one.
        used: a target of the calibration.
        tolerance: largest difference to a target, in `unit` or as a ratio.
        why: why it is claimed, or why it is not.
    """

    id: str
    study: str
    channel: Channel
    quantity: str
    why: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = "fraction"
    programme: Literal["campaign", "flow"] = "campaign"
    segment: str = ""
    scope: str = ""
    curve: str = ""
    at: float | None = None
    at_unit: str = ""
    ratio: bool = False
    se: float | None = None
    used: bool = False
    tolerance: float | None = None

    def __post_init__(self) -> None:
        _check_numbers(self.id, self.unit, self.value, self.low, self.high)
        if self.used != (self.tolerance is not None) or (self.used and self.value is None):
            raise ParameterError(
                "tolerance", self.id, allowed="given with a value for a used figure, and only there", got=self.tolerance
            )
        if self.tolerance is not None and not (math.isfinite(self.tolerance) and self.tolerance > 0):
            raise ParameterError("tolerance", self.id, allowed="a finite number above 0", got=self.tolerance)
        if self.se is not None and not (math.isfinite(self.se) and self.se > 0):
            raise ParameterError("se", self.id, allowed="a finite number above 0", got=self.se)
        if (self.at is None) != (not self.at_unit):
            raise ParameterError("at_unit", self.id, allowed="given with `at`, and only there", got=self.at_unit)
        if (self.curve or self.ratio) and (self.at is None or self.value is None or not self.curve):
            raise ParameterError("curve", self.id, allowed="given with `at` and `value`", got=self.curve)
        if not self.why.strip():
            raise ParameterError("why", self.id, allowed="a reason", got=self.why)

    @property
    def key(self) -> Key:
        """What a simulation measures to compare with it."""
        return (self.channel, self.quantity, self.programme, self.segment, self.at)


class Assumption(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A parameter for which nothing is published: swept, never fitted.

    Attributes:
        id / channel / quantity / unit / at / at_unit: as for a figure.
        value: where a scenario starts, in [low, high].
        low / high: ends of the sweep.
        why: what it is.
    """

    id: str
    channel: Channel
    quantity: str
    value: float
    low: float
    high: float
    why: str
    unit: str = "fraction"
    at: float | None = None
    at_unit: str = ""

    def __post_init__(self) -> None:
        _check_numbers(self.id, self.unit, self.value, self.low, self.high)
        if self.low == self.high:
            raise ParameterError(
                "high", self.id, allowed="above `low`, so that there is something to sweep", got=self.high
            )

    def grid(self, points: int) -> FloatArray:
        """(points,) values from low to high, evenly spaced.

        Raises:
            ParameterError: fewer than 2 points.
        """
        if points < 2:
            raise ParameterError("points", "grid", allowed="at least 2", got=points)
        return np.linspace(self.low, self.high, points)


@dataclass(frozen=True)
class Target:
    """A figure that a simulation must reproduce.

    Attributes:
        id: id of its figure.
        key: (channel, quantity, programme, segment, at): what to measure.
        value: in `unit`, or the ratio to the first point of the curve at `reference_at`.
        tolerance: largest difference that counts as reproduced, in the same unit.
        unit: unit of both; "ratio" for a ratio.
        reference_at: where the curve's first point lies, for ratios; else None.
        kind: kind of its study.
    """

    id: str
    key: Key
    value: float
    tolerance: float
    unit: str
    reference_at: float | None
    kind: Kind


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All figures with their studies, and the assumptions.

    Attributes:
        studies: by key.
        figures: in the order of the file.
        assumed: parameters without a source.
    """

    studies: dict[str, Study]
    figures: tuple[Figure, ...]
    assumed: tuple[Assumption, ...] = ()

    def __post_init__(self) -> None:
        _refuse_twice("id", [one.id for one in self.figures] + [one.id for one in self.assumed])
        _refuse_twice("a claimed quantity", [figure.key for figure in self.figures if figure.used])
        named = {figure.study for figure in self.figures}
        if named != set(self.studies):
            raise ParameterError(
                "study",
                "figures",
                allowed="each study of the file, and no other",
                got=sorted(named ^ set(self.studies)),
            )
        for figure in self.figures:
            if figure.used and self.studies[figure.study].kind in ("V", "D"):
                raise ParameterError("used", figure.id, allowed="false for advice and for our own reading", got=True)
            if figure.ratio and self.curve(figure.curve)[1][0] == 0:
                raise ParameterError("ratio", figure.id, allowed="false where a curve begins at 0", got=True)

    def curve(self, name: str) -> tuple[FloatArray, FloatArray]:
        """Positions (m,) in ascending order and values (m,) of the points of a curve.

        Raises:
            ParameterError: no figure names that curve.
        """
        points = sorted((one.at or 0.0, one.value or 0.0) for one in self.figures if one.curve == name)
        if not points or not name:
            known = sorted({one.curve for one in self.figures if one.curve})
            raise ParameterError("name", "curve", allowed=f"one of {known}", got=name)
        at, values = np.array(points).T
        return at, values

    def targets(self) -> tuple[Target, ...]:
        """The figures that a simulation must reproduce, in the order of the file."""
        return tuple(self._target(figure) for figure in self.figures if figure.used)

    def records(self) -> list[dict[str, Any]]:
        """Every figure and assumption as a flat row with its source: for tables."""
        rows = []
        for figure in self.figures:
            study = msgspec.to_builtins(self.studies[figure.study])
            rows.append(msgspec.to_builtins(figure) | study)
        source = {"source": "", "kind": "assumed", "address": "", "year": None, "used": False}
        return rows + [msgspec.to_builtins(one) | source for one in self.assumed]

    def _target(self, figure: Figure) -> Target:
        value, unit, reference = figure.value or 0.0, figure.unit, None
        if figure.ratio:
            at, values = self.curve(figure.curve)
            value, unit, reference = value / float(values[0]), "ratio", float(at[0])
        kind = self.studies[figure.study].kind
        return Target(figure.id, figure.key, value, figure.tolerance or 0.0, unit, reference, kind)


def published_from(data: Any, *, source: str = "the figures") -> Published:
    """Validate plain data as published figures.

    Raises:
        ConfigError: unknown key, wrong type, a share outside [0, 1], a used figure without tolerance, an id or a
            claim twice, a study that is missing or not used.
    """
    try:
        return msgspec.convert(data, Published)
    except (msgspec.ValidationError, ParameterError) as error:
        raise ConfigError(
            f"{source} are no published figures: {reason_of(error)}", hint="see docs/calibration-targets.md"
        ) from error


def load_published(path: Path | None = None) -> Published:
    """The figures that ship, or those of a yaml file.

    Raises:
        ConfigError: a file that cannot be read, or that holds no figures.
    """
    shipped = resources.files("conf") / "moments" / "published.yaml"
    try:
        text = shipped.read_text(encoding="utf-8") if path is None else path.read_text(encoding="utf-8")
        data = load_yaml(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"figures cannot be read: {reason_of(error)}", hint="see docs/calibration-targets.md"
        ) from error
    return published_from(data, source=str(path or "conf/moments/published.yaml"))


def _check_numbers(owner: str, unit: str, value: float | None, low: float | None, high: float | None) -> None:
    given = [number for number in (low, value, high) if number is not None]
    if not all(map(math.isfinite, given)) or given != sorted(given):
        raise ParameterError("value", owner, allowed="finite, with low <= value <= high", got=given)
    if unit == "fraction" and not all(0 <= number <= 1 for number in given):
        raise ParameterError("value", owner, allowed="in [0, 1] for a fraction", got=given)


def _refuse_twice(what: str, names: Iterable[object]) -> None:
    seen: set[object] = set()
    for name in names:
        if name in seen:
            raise ParameterError(what, "figures", allowed="given once", got=name)
        seen.add(name)
