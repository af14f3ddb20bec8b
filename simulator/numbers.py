"""Every number of the simulator says where it is from: published, fitted, assumed or a definition.

The parameters of the parts are fields of `msgspec` structs; `number` puts unit, kind and source beside the range, and
`numbers_of` reads them back for docs/simulator-numbers.md, for calibration and for sweeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

Kind = Literal["published", "fitted", "assumed", "definition"]
KINDS: Final[tuple[str, ...]] = get_args(Kind)


def number(
    unit: str,
    kind: Kind,
    source: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> msgspec.Meta:
    """The annotation of one parameter.

    Args:
        unit: "days", "usd", "share", "log odds" ...
        kind: published (a figure that somebody printed), fitted (`tactful calibrate`), assumed (no source was found:
            sweep it) or definition (a choice, not a claim about people).
        source: who printed it, what it was fitted to, or why it was assumed.
        ge / gt / le / lt: allowed range.
    """
    limits: dict[str, Any] = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    return msgspec.Meta(**limits, extra={"unit": unit, "kind": kind, "source": source})


def table(values: dict[str, Any]) -> Any:
    """The default of a field that holds a number per channel, level or stage."""
    return msgspec.field(default_factory=lambda: dict(values))


SHARE: Final = {"ge": 0.0, "le": 1.0}


@dataclass(frozen=True)
class Number:
    """One documented parameter of a part.

    Attributes:
        part: the part's struct.
        name: name of the field.
        default: its shipped value; a mapping for numbers per channel.
        unit / kind / source: see `number`.
        limits: the allowed range in words, like "in [0, 1]"; "" where any number is allowed.
    """

    part: str
    name: str
    default: Any
    unit: str
    kind: str
    source: str
    limits: str = ""


def numbers_of(struct: type[msgspec.Struct]) -> tuple[Number, ...]:
    """The documented parameters of a part, in the order of its fields."""
    hints = get_type_hints(struct, include_extras=True)
    found = []
    for field in msgspec.structs.fields(struct):
        meta = _meta(hints[field.name])
        if meta is not None:
            default = field.default if field.default is not msgspec.NODEFAULT else None
            if field.default_factory is not msgspec.NODEFAULT:
                default = field.default_factory()
            said = meta.extra or {}
            found.append(
                Number(struct.__name__, field.name, default, said["unit"], said["kind"], said["source"], _limits(meta))
            )
    return tuple(found)


def _limits(meta: msgspec.Meta) -> str:
    low, high = ("(" if meta.gt is not None else "["), (")" if meta.lt is not None else "]")
    least, most = (meta.ge if meta.gt is None else meta.gt), (meta.le if meta.lt is None else meta.lt)
    if least is not None and most is not None:
        return f"in {low}{least:g}, {most:g}{high}"
    if least is not None:
        return f"above {least:g}" if meta.gt is not None else f"at least {least:g}"
    if most is not None:
        return f"below {most:g}" if meta.lt is not None else f"at most {most:g}"
    return ""


def _meta(hint: Any) -> msgspec.Meta | None:
    """The documentation in an annotation, at the top or on the values of a mapping."""
    if get_origin(hint) is Annotated:
        for extra in get_args(hint)[1:]:
            if isinstance(extra, msgspec.Meta) and extra.extra is not None:
                return extra
    for inner in get_args(hint):
        found = _meta(inner)
        if found is not None:
            return found
    return None
