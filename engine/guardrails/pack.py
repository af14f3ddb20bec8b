"""Rule packs: versioned yaml with every number, where it comes from, and when somebody last checked it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from engine.errors import ConfigError, EligibilityError, ParameterError, reason_of
from engine.files.shipped import read_yaml
from engine.names import near_key

DEFAULT_PACK: Final = "default"


class RuleEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule of a pack.

    Attributes:
        id: unique in the pack; the catalogue's id where there is one.
        rule: name of a shipped rule, or "package.module:Class".
        params: the rule's parameters: its numbers.
        kind: where the number's force comes from.
        jurisdiction: where it holds ("US-FL", "EU", "any").
        source: where it can be read.
        checked_on: date of the catalogue of sources from which the number was taken.
        confidence: V read in the source, S in a secondary source, M not verified, "-" our own choice.
        on_missing: what a missing input means; only "block" exists.
        note: anything else that a reader of the pack should know.
    """

    id: str
    rule: str
    kind: Literal["legal", "platform", "vendor", "eng"]
    jurisdiction: str
    source: str
    checked_on: dt.date
    params: dict[str, Any] = {}
    confidence: Literal["V", "S", "M", "-"] = "-"
    on_missing: Literal["block"] = "block"
    note: str = ""

    def __post_init__(self) -> None:
        for field in ("id", "rule", "jurisdiction", "source"):
            if not getattr(self, field).strip():
                raise ParameterError(field, f"rule entry {self.id!r}", allowed="a non-empty string", got="")


class Pack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """A versioned set of rules.

    Attributes:
        name / version: for people.
        rules: all of them hold at once; the most restrictive wins.
        latency_margin_s: longest delay between a planned instant and the real send that the rules allow for, seconds.
        audience: whom it is for: people, or simulated contacts alone. Commands that decide for or send to people refuse
            a pack for the simulator (`require_people`).
    """

    name: str
    version: str
    rules: tuple[RuleEntry, ...]
    latency_margin_s: int = 600
    audience: Literal["people", "simulation"] = "people"

    def __post_init__(self) -> None:
        ids = [entry.id for entry in self.rules]
        if len(set(ids)) != len(ids):
            raise ParameterError("rules", f"pack {self.name!r}", allowed="unique by id", got=ids)
        if not 0 <= self.latency_margin_s <= 86_400:
            raise ParameterError(
                "latency_margin_s", f"pack {self.name!r}", allowed="in 0 to 86400", got=self.latency_margin_s
            )

    @cached_property
    def digest(self) -> str:
        """16 hex digits of the SHA-256 of the canonical JSON."""
        canonical = json.dumps(self.to_builtins(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def pack_version(self) -> str:
        """What records keep: name, version and digest."""
        return f"{self.name}/{self.version}/{self.digest}"

    def to_builtins(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars, for yaml, JSON and file footers."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        if self.audience == "people":
            # Packs that do not name their audience keep the digest that they had before there was one.
            del built["audience"]
        return built


def require_people(pack: Pack) -> None:
    """Refuse a pack that is for the simulator where real people are decided for or sent to.

    Raises:
        EligibilityError: such a pack.
    """
    if pack.audience != "people":
        raise EligibilityError(
            f"guardrail pack {pack.name!r} is for the simulator alone and must not start on people",
            hint="take default, journeys or full; who knows what it lacks says guardrails.audience=people",
        )


def pack_from(data: Any, *, source: str = "guardrail pack") -> Pack:
    """Validate plain data as a pack.

    Raises:
        ConfigError: unknown key, wrong type, or a value out of range.
    """
    try:
        return msgspec.convert(data, Pack)
    except (msgspec.ValidationError, ParameterError) as error:
        hint = f"{near_key(str(error), Pack)}see docs/guardrails.md"
        raise ConfigError(f"{source} is no guardrail pack: {reason_of(error)}", hint=hint) from error


def load_pack(name_or_path: str | Path = DEFAULT_PACK) -> Pack:
    """Load a shipped pack by name, or a yaml file by path.

    Raises:
        ConfigError: no such pack, no yaml, or no valid pack.
    """
    return pack_from(read_pack(name_or_path), source=str(name_or_path))


def read_pack(name_or_path: str | Path = DEFAULT_PACK) -> Any:
    """The plain data of a pack, not validated: a shipped one by name, or a yaml file by path.

    Raises:
        ConfigError: no such pack, or no yaml.
    """
    return read_yaml("guardrails", name_or_path, what="guardrail pack")
