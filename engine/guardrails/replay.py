"""What the rules read of a contact, as JSON in the decision's record, and back: any decision can be explained later."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.contacts import UNKNOWN, ContactBatch, plain_contacts
from engine.errors import DataError
from engine.types import PURPOSES

_NO_SENDS: Final[tuple[tuple[int, int, int], ...]] = ()


class RuleInputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One contact as the rules saw it; codes are positions on the catalog's channels and in the purposes.

    Attributes:
        zone / locale: None where unknown.
        consent: C x P levels, row by row.
        suppressed: C levels.
        sends: (at in microseconds, channel, purpose), oldest first; None where the history is unknown.
        extra: further columns that rules declared.
    """

    consent: list[int]
    suppressed: list[int]
    sends: list[tuple[int, int, int]] | None
    zone: str | None = None
    locale: str | None = None
    extra: dict[str, Any] = {}


def rule_inputs(contacts: ContactBatch) -> list[bytes]:
    """(n,) JSON of what the rules read of each contact.

    Raises:
        DataError: an extra column with values that JSON cannot hold.
    """
    zones = [*contacts.zones, None]
    locales = [*contacts.locales, None]
    sends = list(
        zip(contacts.sent_at.tolist(), contacts.sent_channel.tolist(), contacts.sent_purpose.tolist(), strict=True)
    )
    offsets = contacts.sent_offsets.tolist()
    extras = {name: column.tolist() for name, column in contacts.extra.items()}
    encode = msgspec.json.Encoder().encode
    rows = zip(
        contacts.consent.reshape(contacts.n, math.prod(contacts.consent.shape[1:])).tolist(),
        contacts.suppressed.tolist(),
        contacts.history_known.tolist(),
        contacts.zone_code.tolist(),
        contacts.locale_code.tolist(),
        strict=True,
    )
    try:
        return [
            encode(
                RuleInputs(
                    consent,
                    suppressed,
                    sends[offsets[row] : offsets[row + 1]] if known else None,
                    zones[zone],
                    locales[locale],
                    {name: column[row] for name, column in extras.items()} if extras else {},
                )
            )
            for row, (consent, suppressed, known, zone, locale) in enumerate(rows)
        ]
    except (TypeError, msgspec.MsgspecError) as error:
        raise DataError(f"an input of the rules cannot be written as JSON: {error}") from error


def contacts_from_rule_inputs(inputs: Sequence[bytes], contact_ids: Sequence[str], catalog: Catalog) -> ContactBatch:
    """The contacts as the rules saw them, without context.

    Args:
        inputs: (n,) what `rule_inputs` wrote.
        contact_ids: (n,) ids to show.
        catalog: the catalog of the decisions.

    Raises:
        DataError: an entry that cannot be read, or one of another catalog.
    """
    decode = msgspec.json.Decoder(RuleInputs).decode
    channels, purposes = len(catalog.channels), len(PURPOSES)
    try:
        seen = [decode(entry) for entry in inputs]
    except msgspec.MsgspecError as error:
        raise DataError(
            f"rule inputs cannot be read: {error}", hint="the record is damaged or of another version"
        ) from error
    if any(len(one.consent) != channels * purposes or len(one.suppressed) != channels for one in seen):
        raise DataError("rule inputs belong to another catalog", hint="take the catalog from the log's footer")
    zones, zone_code = _coded([one.zone for one in seen])
    locales, locale_code = _coded([one.locale for one in seen])
    sends = np.array([send for one in seen for send in one.sends or _NO_SENDS], dtype=np.int64).reshape(-1, 3)
    lengths = [len(one.sends or _NO_SENDS) for one in seen]
    names = sorted({name for one in seen for name in one.extra})
    return plain_contacts(
        np.array(contact_ids, dtype=object),
        catalog,
        zones=zones,
        zone_code=zone_code,
        locales=locales,
        locale_code=locale_code,
        consent=np.array([one.consent for one in seen], dtype=np.int8).reshape(-1, channels, purposes),
        suppressed=np.array([one.suppressed for one in seen], dtype=np.int8).reshape(-1, channels),
        history_known=np.array([one.sends is not None for one in seen], dtype=np.bool_),
        sent_offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        sent_at=sends[:, 0].copy(),
        sent_channel=sends[:, 1].astype(np.int32),
        sent_purpose=sends[:, 2].astype(np.int32),
        extra={name: _objects([one.extra.get(name) for one in seen]) for name in names},
    )


def _objects(values: list[Any]) -> np.ndarray[Any, Any]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _coded(values: list[str | None]) -> tuple[tuple[str, ...], np.ndarray[Any, Any]]:
    """Distinct values in order of appearance, and each value's position; -1 for None."""
    codes: dict[str, int] = {}
    positions = [UNKNOWN if value is None else codes.setdefault(value, len(codes)) for value in values]
    return tuple(codes), np.array(positions, dtype=np.int32)
