"""The tables of contact state. Instants are integers: microseconds since 1970 UTC.

Consents, suppressions, events and steps are only ever added to; a profile and a send are rows that change, and each
change of a send leaves a row in `send_step`. A store is
opened by `prepare`: it makes new tables, brings those of an earlier version up to date, and refuses stores that are too
new.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa

from engine.errors import StorageError
from engine.storage.database import is_postgresql

METADATA: Final = sa.MetaData()
SCHEMA_VERSION: Final = 3
DIGEST_LENGTH: Final = 64

RESERVED: Final = "reserved"
DISPATCHING: Final = "dispatching"
DISPATCHED: Final = "dispatched"
FAILED: Final = "failed"
RELEASED: Final = "released"
STATES: Final = (RESERVED, DISPATCHING, DISPATCHED, FAILED, RELEASED)


def _text(name: str, comment: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=nullable, comment=comment)


def _instant(name: str, comment: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable, comment=comment)


def _fact_id() -> sa.Column[Any]:
    return sa.Column(
        "fact_id", sa.String(DIGEST_LENGTH), primary_key=True, comment="SHA-256 of the fact, or its own id"
    )


CONTACT: Final = sa.Table(
    "contact",
    METADATA,
    sa.Column("contact_id", sa.Text(), primary_key=True, comment="pseudonym"),
    _instant("observed_at", "of the newest profile"),
    _text("zone", "IANA name", nullable=True),
    _text("zone_source", "explicit, device, postal, area_code ...", nullable=True),
    _instant("zone_observed_at", "when the zone was last seen", nullable=True),
    _text("region", "state or region of residence", nullable=True),
    _text("country", "ISO 3166 alpha-2", nullable=True),
    _text("area_code", "of the telephone number", nullable=True),
    _text("line_type", "mobile, landline, voip or none", nullable=True),
    _text("lists", "names of lists, joined by semicolons; none where the contact is on none", nullable=True),
    sa.Column("motive_price", sa.Double(), nullable=True, comment="probability that price is the motive"),
    _text("locale", "BCP 47 tag", nullable=True),
    _instant("due_at", "when something falls due: the end of a trial, a renewal", nullable=True),
    _instant("history_from_at", "every send since then is known; null: nobody knows what was sent", nullable=True),
)
CONSENT: Final = sa.Table(
    "consent",
    METADATA,
    _fact_id(),
    _text("contact_id", "pseudonym"),
    _text("channel", "null is every channel (only of a refusal)", nullable=True),
    _text("purpose", "null is every purpose (only of a refusal)", nullable=True),
    _text("status", "granted, denied or withdrawn"),
    _text("kind", "express or one of the implied kinds"),
    _text("source", "where it was given; a grant without one does not count"),
    _text("basis", "wording or legal basis"),
    _instant("recorded_at", "when it was given; a grant without one does not count", nullable=True),
    _instant("expires_at", "null is without end", nullable=True),
    sa.Index("consent_by_contact", "contact_id"),
)
SUPPRESSION: Final = sa.Table(
    "suppression",
    METADATA,
    _fact_id(),
    _text("contact_id", "pseudonym"),
    _text("channel", "null is every channel", nullable=True),
    _text("reason", "opt_out, hard_bounce, complaint, minor ..."),
    _text("source", "who said so"),
    _instant("at", "since when"),
    _instant("until_at", "null is without end", nullable=True),
    sa.Column("lifted", sa.Boolean(), nullable=False, comment="ends earlier rows of the same channel and reason"),
    sa.Index("suppression_by_contact", "contact_id"),
)
EVENT: Final = sa.Table(
    "event",
    METADATA,
    _fact_id(),
    _text("contact_id", "pseudonym"),
    _text("kind", "open, click, hard_bounce, purchase ..."),
    _instant("at", "when it happened"),
    _text("decision_id", "of the send that it answers", nullable=True),
    _text("channel", "", nullable=True),
    _text("category", "product category", nullable=True),
    sa.Column("value_usd", sa.Double(), nullable=True, comment="of a purchase"),
    sa.Column("source", sa.Text(), nullable=False, server_default="", comment="who reported it; ids are the source's"),
    _text("event_id", "the source's own id, or null", nullable=True),
    sa.Index("event_by_contact", "contact_id", "at"),
)
SEND: Final = sa.Table(
    "send",
    METADATA,
    sa.Column("decision_id", sa.Text(), primary_key=True, comment="idempotency key"),
    _text("contact_id", "pseudonym"),
    _text("channel", "name"),
    _text("purpose", "promotional or transactional"),
    _text("topic", "subject matter, or empty"),
    _text("template", "arm, or empty"),
    _text("category", "product category, or empty"),
    sa.Column("discount", sa.Double(), nullable=True, comment="depth in [0, 1); null: not known"),
    _instant("at", "planned instant; once it is being dispatched, the real one"),
    _instant("planned_at", "planned instant"),
    _text("state", ", ".join(STATES)),
    _instant("lease_until", "from then on a reserved send is free again"),
    sa.Column("step", sa.Integer(), nullable=False, comment="number of the last change"),
    sa.Index("send_by_contact", "contact_id", "at"),
)


def in_state(name: str) -> sa.ColumnElement[bool]:
    """A send is in this state; the name is part of the statement, or SQLite would not see that its index fits."""
    return SEND.c.state == sa.literal_column(f"'{name}'")


# One small index per state that ends: an index over all states would tempt SQLite to read every send ever made.
for _state in (RESERVED, DISPATCHING):
    sa.Index(f"send_{_state}", SEND.c.lease_until, sqlite_where=in_state(_state), postgresql_where=in_state(_state))
SEND_STEP: Final = sa.Table(
    "send_step",
    METADATA,
    sa.Column("decision_id", sa.ForeignKey("send.decision_id"), primary_key=True),
    sa.Column("step", sa.Integer(), primary_key=True, autoincrement=False, comment="0 for the first reservation"),
    _text("state", "the state that it entered"),
    _instant("at", "when"),
    _text("reason", "why, or empty"),
)
SEND_LOCK: Final = sa.Table(
    "send_lock",
    METADATA,
    sa.Column("contact_id", sa.Text(), primary_key=True, comment="whoever holds this row decides on the contact"),
)
SPELLING: Final = sa.Table(
    "spelling",
    METADATA,
    sa.Column("contact_id", sa.Text(), primary_key=True, comment="pseudonym"),
    _text("composed", "pseudonym of the same id with its accents composed (NFC)"),
    _text("folded", "keyed hash of the id without case, blanks and differences of Unicode form"),
    sa.Index("spelling_by_folded", "folded"),
)
SEND_OWED: Final = sa.Table(
    "send_owed",
    METADATA,
    sa.Column("decision_id", sa.Text(), primary_key=True, comment="settled by hand; no outcome file says so yet"),
    _text("event", "dispatched or failed"),
    _instant("at", "of the event"),
)
DECIDED: Final = sa.Table(
    "decided",
    METADATA,
    sa.Column("decision_id", sa.Text(), primary_key=True, comment="of a decision that was taken, hold or send"),
    sa.Column("batch_id", sa.BigInteger(), nullable=False, comment="where its record stands"),
    sqlite_with_rowid=False,
)
DECIDED_BATCH: Final = sa.Table(
    "decided_batch",
    METADATA,
    sa.Column(
        "batch_id", sa.BigInteger(), primary_key=True, autoincrement=False, comment="sequence of its transaction"
    ),
    _instant("decided_at", "of all its decisions"),
    _text("run_id", "under which settings"),
    sa.Column("record", sa.LargeBinary(), nullable=False, comment="rows of the log, an Arrow stream"),
    sa.Index("decided_batch_by_instant", "decided_at"),
)
DECIDED_RUN: Final = sa.Table(
    "decided_run",
    METADATA,
    sa.Column("run_id", sa.String(DIGEST_LENGTH), primary_key=True, comment="SHA-256 of the settings"),
    _text("settings", "JSON of all that decisions depend on besides contact and instant"),
)
STORE: Final = sa.Table(
    "store",
    METADATA,
    sa.Column("one", sa.Integer(), primary_key=True, autoincrement=False, comment="always 1"),
    sa.Column("version", sa.Integer(), nullable=False, comment="of these tables"),
    _text("store_id", "random; the same in every copy of the store"),
    sa.Column("sequence", sa.BigInteger(), nullable=False, comment="number of the last change (SQLite)"),
    _instant("forgotten_before", "records of decisions before then were removed", nullable=True),
)
# PostgreSQL numbers its changes by a sequence: a row that everybody updates would let one commit at a time.
SEQUENCE: Final = sa.Sequence("store_sequence", metadata=METADATA)


_NEWER: Final = "upgrade Tactful; nothing was changed"


def prepare(connection: sa.Connection) -> None:
    """Create the tables that are missing, and bring those of an earlier version up to date; only columns are added.

    Raises:
        StorageError: a store of a newer version, or tables of these names that are not ours; nothing was changed.
    """
    present = set(sa.inspect(connection).get_table_names())
    if STORE.name in present:
        version = _version(connection)
        if version > SCHEMA_VERSION:
            raise StorageError(
                f"the state store has schema version {version}, this Tactful reads up to {SCHEMA_VERSION}", hint=_NEWER
            )
        if version == SCHEMA_VERSION:
            return
    elif SEND.name in present:
        _add_columns(connection, EVENT, ("source", "event_id"))
    METADATA.create_all(connection)
    _require_columns(connection)
    if STORE.name in present:
        connection.execute(sa.update(STORE).values(version=SCHEMA_VERSION))
    else:
        first = {"one": 1, "version": SCHEMA_VERSION, "store_id": uuid4().hex, "sequence": 0}
        connection.execute(sa.insert(STORE), [first])


def _version(connection: sa.Connection) -> int:
    found: Any = connection.execute(sa.select(STORE.c.version)).scalar_one_or_none()
    if not isinstance(found, int) or found < 1:
        raise StorageError(
            f"the table `store` of the state store does not say its version, got {found!r}",
            hint="the store is damaged, or the table is another program's; restore a copy, or name another database",
        )
    return found


def _add_columns(connection: sa.Connection, table: sa.Table, names: tuple[str, ...]) -> None:
    there = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
    for name in names:
        if name not in there:
            column = sa.schema.CreateColumn(table.c[name]).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column}")


def _require_columns(connection: sa.Connection) -> None:
    found = sa.inspect(connection)
    for table in METADATA.sorted_tables:
        missing = {column.name for column in table.columns} - {
            column["name"] for column in found.get_columns(table.name)
        }
        if missing:
            raise StorageError(
                f"the table {table.name!r} of the state store lacks the columns {sorted(missing)}",
                hint="it is another program's table, or of a version that cannot be brought up to date; "
                f"name another {'schema' if is_postgresql(connection) else 'file'}",
            )
