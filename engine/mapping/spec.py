"""The dialect of a mapping yaml as typed structs: what each key means and which values it takes (docs/mapping.md)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from engine.errors import ParameterError
from engine.features import FeatureSchema, FeatureSpec
from engine.files.tables import AUTO
from engine.mapping.cells import check_one_group
from engine.records.schema import RewardSpec

Scalar = str | int | float
Observed = Literal["observed"]


def _exactly_one(owner: str, alternatives: dict[str, Any]) -> None:
    given = [
        name
        for name, value in alternatives.items()
        if value is not None and value is not False and value not in ((), {})
    ]
    if len(given) != 1:
        raise ParameterError(
            " / ".join(alternatives), owner, allowed="given exactly once", got=given, hint="keep one of these keys"
        )


class ValuesFrom(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Values that come from elsewhere.

    Attributes:
        pattern: regular expression (RE2) over the column names of the log; its one group is the value.
        file / column: a companion CSV beside the log, and its column of values.
        fallback: used where the pattern matches nothing or the companion is not there; without it that is an error.
    """

    pattern: str | None = None
    file: str | None = None
    column: str | None = None
    fallback: Observed | list[Scalar] | None = None

    def __post_init__(self) -> None:
        _exactly_one("values", {"pattern": self.pattern, "file": self.file})
        if (self.file is None) != (self.column is None):
            raise ParameterError("column", "values", allowed="given together with file", got=self.column)
        if self.pattern is not None:
            check_one_group(self.pattern, owner="values")


class Attributes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Attributes of arms, from a companion CSV beside the log.

    Attributes:
        file: its name.
        key: its column that holds the arm's id.
        columns: the columns to take; empty means all others.
        optional: True imports without attributes where the file is not there.
    """

    file: str
    key: str
    columns: tuple[str, ...] = ()
    optional: bool = False


class Axis(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One axis of the catalog: a constant, a column, or a tuple of factor columns joined by `|`.

    Attributes:
        constant / column / columns: exactly one of them.
        values: the declared values, "observed" (those in the log), or where to find them.
        attributes: where those of arms stand; other axes have none.
    """

    constant: Scalar | None = None
    column: str | None = None
    columns: tuple[str, ...] = ()
    values: Observed | list[Scalar | list[Scalar]] | ValuesFrom = "observed"
    attributes: Attributes | None = None

    def __post_init__(self) -> None:
        _exactly_one("a catalog axis", {"constant": self.constant, "column": self.column, "columns": self.columns})

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that the axis reads."""
        return self.columns or ((self.column,) if self.column is not None else ())


class Axes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The three axes of the catalog."""

    arm: Axis
    channel: Axis
    send_hour: Axis = Axis(constant="now")

    def __post_init__(self) -> None:
        for name in ("channel", "send_hour"):
            if getattr(self, name).attributes is not None:
                raise ParameterError(
                    "attributes", f"catalog.{name}", allowed="given for the arm only", got="attributes"
                )

    def items(self) -> tuple[tuple[str, Axis], ...]:
        return ("channel", self.channel), ("send_hour", self.send_hour), ("arm", self.arm)


class Hold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which rows mean hold (no message).

    Attributes:
        axis / column: where it is read: on a catalog axis or in a column of its own.
        values: the values that mean hold.
        name: what the hold action is called; by default the first of the values.
    """

    axis: Literal["channel", "send_hour", "arm"] | None = None
    column: str | None = None
    values: list[Scalar] = []
    name: str | None = None

    def __post_init__(self) -> None:
        _exactly_one("hold", {"axis": self.axis, "column": self.column})
        if not self.values:
            raise ParameterError("values", "hold", allowed="at least one value", got=self.values)


class Propensity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The probability with which the logged action was drawn; exactly one key.

    Attributes:
        constant: one probability for every row, as 0.25 or "1/4".
        per_arm: action name -> probability, with the entries `hold` and `default`.
        column / expression: the probability of the logged action, row by row.
        absent: true where the log does not say: such a log can not be evaluated exactly.
    """

    constant: Scalar | None = None
    per_arm: dict[str, Scalar] = {}
    column: str | None = None
    expression: str | None = None
    absent: bool = False

    def __post_init__(self) -> None:
        _exactly_one("propensity", {name: getattr(self, name) for name in self.__struct_fields__})


class Availability(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whether a decision could be taken at all; other rows stay in the log and are excluded later.

    Attributes:
        column: true where 1, true, yes or any number but 0; or, with `values`, where it is one of them.
        expression: true where it is not 0.
    """

    column: str | None = None
    values: list[Scalar] = []
    expression: str | None = None

    def __post_init__(self) -> None:
        _exactly_one("availability", {"column": self.column, "expression": self.expression})


class Eligible(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The eligible set of each row; exactly one of columns, list_column, expressions. A declared hold always is.

    Attributes:
        columns: action name -> a column that is true where the action was eligible; others always were.
        list_column: a column that lists the eligible action names, as JSON or split at `separator`.
        axis / expressions: value of that axis -> expression, true where that value was eligible; others always were.
    """

    columns: dict[str, str] = {}
    list_column: str | None = None
    separator: str = ";"
    axis: Literal["channel", "send_hour", "arm"] = "arm"
    expressions: dict[str, str] = {}

    def __post_init__(self) -> None:
        _exactly_one(
            "eligible", {"columns": self.columns, "list_column": self.list_column, "expressions": self.expressions}
        )


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An id: one column, or several joined by `|`.

    Attributes:
        optional: whether the row's number is the id where the columns are not there; for the decision id only.
    """

    column: str | None = None
    columns: tuple[str, ...] = ()
    optional: bool = False

    def __post_init__(self) -> None:
        _exactly_one("an id", {"column": self.column, "columns": self.columns})

    @property
    def names(self) -> tuple[str, ...]:
        return self.columns or ((self.column,) if self.column is not None else ())


class DecidedAt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the decision was taken.

    Attributes:
        column: where the timestamp stands.
        format: "iso", "epoch_s", "epoch_ms", "hours_since" (needs origin), or a strptime format.
        origin: ISO 8601 with offset: the instant that hours_since counts from.
        time_zone: IANA name of the zone of naive timestamps.
        ambiguous: which of two instants is meant when clocks go back; a time that clocks skip is always rejected.
    """

    column: str
    format: str
    origin: str | None = None
    time_zone: str | None = None
    ambiguous: Literal["reject", "earlier", "later"] = "reject"


class FeatureDefaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every feature says unless it says otherwise."""

    source: str = ""
    collected_where: str = ""
    customer_benefit: str = ""
    unit: str = ""
    missing: list[Scalar] = []


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One feature: the keys of `engine.features.FeatureSpec`, and where the log has it.

    Attributes:
        column: where it stands; by default the feature's name.
        missing: markers of a missing value, beside the empty cell.
        required: True rejects rows in which it is missing.
    """

    name: str
    type: Literal["numeric", "categorical"]
    column: str | None = None
    unit: str | None = None
    source: str | None = None
    collected_where: str | None = None
    customer_benefit: str | None = None
    max_age_days: float | None = None
    signal_group: str = ""
    low: float | None = None
    high: float | None = None
    levels: tuple[str, ...] = ()
    missing: list[Scalar] | None = None
    required: bool = False

    @property
    def cells(self) -> str:
        """The column that holds it."""
        return self.column or self.name


class Reward(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One metric: a column or an expression, and its range.

    Attributes:
        low / high: inclusive; a row outside is rejected.
        missing: markers of an unknown reward ("" for the empty cell); without them an unknown reward rejects the row.
    """

    low: float
    high: float
    column: str | None = None
    expression: str | None = None
    unit: str = ""
    description: str = ""
    missing: list[Scalar] = []

    def __post_init__(self) -> None:
        _exactly_one("a reward", {"column": self.column, "expression": self.expression})
        self.spec()

    def spec(self) -> RewardSpec:
        return RewardSpec(low=self.low, high=self.high, unit=self.unit, description=self.description)


class CsvOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a CSV is written; newlines inside quoted fields always work.

    Attributes:
        delimiter: one character, or "auto": the one of `, ; tab |` that the heading is written with.
        quote: the quoting character.
        encoding: what the text is in where the file has no byte-order mark.
    """

    delimiter: str = AUTO
    quote: str = '"'
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        for name in ("delimiter", "quote"):
            if len(getattr(self, name)) != 1 and (name, self.delimiter) != ("delimiter", AUTO):
                raise ParameterError(name, "csv", allowed="one character", got=getattr(self, name))
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ParameterError(
                "encoding", "csv", allowed="a codec like utf-8 or latin-1", got=self.encoding
            ) from None


class NumberFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How texts write numbers; without it the point stands for decimals and nothing groups thousands.

    Attributes:
        decimal: the mark of decimals: a point or a comma.
        thousands: the mark between groups of digits: a point, a comma, a space (also those that do not break), an
            apostrophe, or "" for none. Groups have three digits; with commas those before the last may have two.
        currency: signs that may stand before or after a number, like "EUR"; they are left out.
        percent: whether a number may end in %; it is divided by 100.
    """

    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'"] = ""
    currency: tuple[str, ...] = ()
    percent: bool = False

    def __post_init__(self) -> None:
        if self.thousands == self.decimal:
            raise ParameterError("thousands", "numbers", allowed="another mark than decimal", got=self.thousands)
        for symbol in self.currency:
            if not symbol.strip() or set(symbol) & set("0123456789.,+-%"):
                raise ParameterError("currency", "numbers", allowed="signs without digits and marks", got=symbol)


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole mapping; docs/mapping.md tells every key with an example."""

    name: str
    catalog: Axes
    propensity: Propensity
    rewards: dict[str, Reward]
    description: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()
    format: Literal["auto", "csv", "parquet", "jsonl"] = "auto"
    csv: CsvOptions = CsvOptions()
    numbers: NumberFormat | None = None
    hold: Hold | None = None
    aliases: dict[str, str] = {}
    availability: Availability | None = None
    eligible: Eligible | None = None
    contact: Key | None = None
    cluster: Key | Literal["contact"] | None = None
    decision_id: Key | None = None
    decided_at: DecidedAt | None = None
    feature_defaults: FeatureDefaults = FeatureDefaults()
    features: tuple[Feature, ...] = ()
    keep: Literal["all", "none"] | list[str] = "all"

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ParameterError("name", "a mapping", allowed="non-empty", got=self.name)
        if self.cluster == "contact" and self.contact is None:
            raise ParameterError(
                "cluster", f"mapping {self.name!r}", allowed="a column where no contact is declared", got=self.cluster
            )
        for name in ("contact", "cluster"):
            if isinstance(key := getattr(self, name), Key) and key.optional:
                raise ParameterError("optional", name, allowed="given for the decision_id only", got=key.optional)
        self.schema()

    def schema(self) -> FeatureSchema:
        """The feature schema of the imported log."""
        return FeatureSchema(features=tuple(self._feature(feature) for feature in self.features))

    def _feature(self, feature: Feature) -> FeatureSpec:
        defaults = self.feature_defaults
        unit = feature.unit or ("level" if feature.type == "categorical" else defaults.unit)
        return FeatureSpec(
            name=feature.name,
            type=feature.type,
            unit=unit,
            source=feature.source or defaults.source,
            collected_where=feature.collected_where or defaults.collected_where,
            customer_benefit=feature.customer_benefit or defaults.customer_benefit,
            max_age_days=feature.max_age_days,
            signal_group=feature.signal_group,
            low=feature.low,
            high=feature.high,
            levels=feature.levels,
        )
