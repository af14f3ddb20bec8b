"""Who was erased from a store, under which contact key the store is, and the record of each erasure.

An erased contact stays suppressed although nothing is known of it any more: the store keeps a hash of its pseudonym
under a random key of the store's own. Whoever has the pseudonym can ask whether it was erased; nobody can turn the hash
back.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from engine.contacts.key import fingerprint, require_same
from engine.state.tables import DIGEST_LENGTH, METADATA
from engine.storage.database import among, insert_missing, reading, writing

ERASED_REASON: Final = "erased"
CONTACT_KEY: Final = "contact_key"
MARK_KEY: Final = "mark_key"

STORE_IDENTITY: Final = sa.Table(
    "store_identity",
    METADATA,
    sa.Column("name", sa.Text(), primary_key=True, comment=f"{CONTACT_KEY} or {MARK_KEY}"),
    sa.Column("value", sa.Text(), nullable=False, comment="fingerprint of the contact key; key of the marks, hex"),
)
ERASED: Final = sa.Table(
    "erased",
    METADATA,
    sa.Column("mark", sa.String(DIGEST_LENGTH), primary_key=True, comment="keyed hash of a pseudonym"),
    sa.Column("at", sa.BigInteger(), nullable=False, comment="since when all channels are closed"),
)
ERASURE: Final = sa.Table(
    "erasure",
    METADATA,
    sa.Column("act_id", sa.Text(), primary_key=True, comment="random"),
    sa.Column("at", sa.BigInteger(), nullable=False, comment="when it was asked"),
    sa.Column("record", sa.Text(), nullable=False, comment="JSON: who asked, why, counts, tool version; no person"),
    sa.Column("clean", sa.Boolean(), nullable=False, comment="whether the freed pages have been overwritten"),
)


def bind_key(engine: sa.Engine, key: str) -> None:
    """Write down the fingerprint of the contact key in a store that has none, or compare it.

    Raises:
        ConfigError: the store is under another key.
        StorageError: the store refused.
    """
    found = bound_key(engine)
    if found is None:
        with writing(engine, "write down the fingerprint of the contact key") as connection:
            statement = insert_missing(connection, STORE_IDENTITY)
            connection.execute(statement, [{"name": CONTACT_KEY, "value": fingerprint(key)}])
        # Another process may have been first.
        found = bound_key(engine)
    require_same(found, key, where="the store of contact state")


def bound_key(engine: sa.Engine) -> str | None:
    """The fingerprint of the contact key under which the store is; None where nobody has used one yet.

    Raises:
        StorageError: the store cannot be read.
    """
    with reading(engine, "read the fingerprint of the contact key") as connection:
        return _identity(connection, CONTACT_KEY)


def _identity(connection: sa.Connection, name: str) -> str | None:
    query = sa.select(STORE_IDENTITY.c.value).where(STORE_IDENTITY.c.name == name)
    value: str | None = connection.execute(query).scalar_one_or_none()
    return value


def mark_erased(connection: sa.Connection, pseudonyms: Sequence[str], at: int) -> None:
    """Close every channel of these contacts for good; a later erasure of the same one moves the instant."""
    connection.execute(insert_missing(connection, STORE_IDENTITY), [{"name": MARK_KEY, "value": secrets.token_hex(32)}])
    marks = sorted(_marks(str(_identity(connection, MARK_KEY)), pseudonyms))
    if marks:
        connection.execute(insert_missing(connection, ERASED), [{"mark": mark, "at": at} for mark in marks])
        later = sa.update(ERASED).where(among(connection, ERASED.c.mark, marks), ERASED.c.at < at)
        connection.execute(later.values(at=at))


def erased_at(connection: sa.Connection, pseudonyms: Sequence[str]) -> Mapping[str, int]:
    """Pseudonym -> microseconds at which it was erased, of those that were."""
    key = _identity(connection, MARK_KEY)
    if key is None:
        return {}
    marks = _marks(key, pseudonyms)
    query = sa.select(ERASED.c.mark, ERASED.c.at).where(among(connection, ERASED.c.mark, list(marks)))
    return {marks[mark]: at for mark, at in connection.execute(query)}


def _marks(key: str, pseudonyms: Sequence[str]) -> dict[str, str]:
    secret = bytes.fromhex(key)
    return {hmac.digest(secret, name.encode(), hashlib.sha256).hex(): name for name in pseudonyms}
