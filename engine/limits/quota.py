"""The store of quota: what each meter has given out, exact across processes that share it.

A block takes a grant for as much as it may need at most, and settles what it used. On every meter, at all times,
    used + (held by grants that are open) <= capacity + earned,
because both sides change only in transactions that hold the meter's row. A grant whose holder died is given back when
its lease is over, except for what it had settled by then; it is closed for good in the same transaction, so that a slow
holder cannot settle it afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import sqlalchemy as sa

from engine.errors import DataError, ParameterError, StorageError
from engine.limits.kinds import SetLimit
from engine.state.checks import require_id, require_instant, require_span
from engine.storage.database import SqlStore, in_byte_order, insert_missing, open_database, reading, writing
from engine.types import MICROSECONDS_PER_S

ALL_DAYS: Final = 0
HELD: Final = "held"
SETTLED: Final = "settled"
EXPIRED: Final = "expired"

METADATA: Final = sa.MetaData()
QUOTA: Final = sa.Table(
    "quota",
    METADATA,
    sa.Column("name", sa.Text(), primary_key=True, comment="of the limit"),
    sa.Column("day", sa.Integer(), primary_key=True, autoincrement=False, comment="days since 1970; 0 is all days"),
    sa.Column("used", sa.BigInteger(), nullable=False, comment="settled"),
    sa.Column("earned", sa.BigInteger(), nullable=False, comment="settled"),
)
GRANT: Final = sa.Table(
    "quota_grant",
    METADATA,
    sa.Column("grant_id", sa.Text(), primary_key=True),
    sa.Column("name", sa.Text(), primary_key=True),
    sa.Column("day", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("amount", sa.BigInteger(), nullable=False, comment="granted"),
    sa.Column("used", sa.BigInteger(), nullable=False, comment="settled so far"),
    sa.Column("earned", sa.BigInteger(), nullable=False, comment="settled so far"),
    sa.Column("state", sa.Text(), nullable=False, comment=f"{HELD}, {SETTLED}, {EXPIRED}"),
    sa.Column("lease_until", sa.BigInteger(), nullable=False, comment="from then on it may be taken back"),
    sa.Index("quota_grant_by_meter", "name", "day", "state"),
)


class Meter(NamedTuple):
    """A limit's name and a day (days since 1970, or `ALL_DAYS`)."""

    name: str
    day: int


@dataclass(frozen=True)
class Need:
    """How much of a limit a block may need on a day.

    Attributes:
        limit: the limit.
        day: days since 1970, or `ALL_DAYS` for a limit that is not per day.
        amount: at most.
        unit: what the dearest single send uses: a share smaller than that could not be used at all.
    """

    limit: SetLimit
    day: int
    amount: int
    unit: int = 1

    @property
    def meter(self) -> Meter:
        return Meter(self.limit.name, self.day if self.limit.per_day else ALL_DAYS)


class QuotaStore(Protocol):
    """Hands out quota: `acquire` before the draws of a block, `settle` after them and before anything is sent."""

    def acquire(
        self, grant_id: str, needs: Sequence[Need], *, now_at: int, lease_s: float, share: float = 1.0
    ) -> dict[Meter, int]: ...

    def settle(
        self, grant_id: str, used: Mapping[Meter, int], earned: Mapping[Meter, int], *, close: bool = True
    ) -> None: ...

    def abandon(self, grant_id: str) -> None: ...

    def next_name(self, base: str) -> str: ...


class SqlQuota(SqlStore):
    """The quota store in SQL; processes and machines may share it, also with the tables of contact state.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.
        busy_timeout_s: how long a call waits for others, seconds.
        connections: that this process keeps open, at most.

    Raises:
        ParameterError: another kind of URL, or a number out of range.
        ConfigError: the driver is not installed.
        StorageError: the store cannot be opened.
    """

    def __init__(self, url: str, *, busy_timeout_s: float = 30.0, connections: int = 5) -> None:
        self._engine = open_database(
            url, METADATA.create_all, owner="SqlQuota", busy_timeout_s=busy_timeout_s, connections=connections
        )

    def acquire(
        self, grant_id: str, needs: Sequence[Need], *, now_at: int, lease_s: float, share: float = 1.0
    ) -> dict[Meter, int]:
        """Take quota: on each meter the need, or as much as there is.

        The same grant again gives the same amounts, also when it is settled: a block that is run again is admitted as
        it was the first time.

        Args:
            grant_id: names the block.
            needs: one per meter.
            now_at: grants whose lease ended by then are taken back first.
            lease_s: how long the block may take.
            share: of what is free, at most; less than 1 leaves something to blocks that run at the same time.

        Raises:
            ParameterError: a meter twice, a negative need, a share outside (0, 1].
            DataError: the grant has expired, or was made for other meters.
            StorageError: the store refused; nothing is granted.
        """
        _check_acquire(grant_id, needs, now_at, lease_s, share)
        meters = sorted(need.meter for need in needs)
        with writing(self._engine, "acquire quota") as connection:
            usage = _locked(connection, meters)
            mine = _grant(connection, grant_id)
            if mine:
                return _again(grant_id, mine, meters)
            _lapse(connection, meters, now_at)
            held = _held(connection, meters)
            amounts = {}
            for need in needs:
                used, earned = usage[need.meter]
                capacity = need.limit.capacity(_before(connection, need))
                free = need.amount if capacity is None else capacity + earned - used - held.get(need.meter, 0)
                amounts[need.meter] = min(need.amount, _share(max(free, 0), share, need.unit))
            lease_until = now_at + round(lease_s * MICROSECONDS_PER_S)
            same = {"grant_id": grant_id, "used": 0, "earned": 0, "state": HELD, "lease_until": lease_until}
            rows = [{**same, **meter._asdict(), "amount": amount} for meter, amount in amounts.items()]
            if rows:
                connection.execute(sa.insert(GRANT), rows)
        return amounts

    def settle(
        self, grant_id: str, used: Mapping[Meter, int], earned: Mapping[Meter, int], *, close: bool = True
    ) -> None:
        """Write down what a grant used in all so far; with `close` the rest of it is free again.

        It must have returned before anything of the block is sent or logged: a block that cannot settle has decided
        nothing. The same settlement again changes nothing.

        Args:
            grant_id: name given to `acquire`.
            used: meter -> amount since the grant, not since the last settlement; absent is 0.
            earned: meter -> amount since the grant.
            close: false keeps the rest for more of the same block.

        Raises:
            ParameterError: more than was granted, less than was settled before, or another meter.
            DataError: no such grant, or one that was closed with other amounts.
            StorageError: the lease ran out and the quota is taken back, or the store refused; nothing is settled.
        """
        with writing(self._engine, "settle quota") as connection:
            settle_in(connection, grant_id, used, earned, close=close)

    def abandon(self, grant_id: str) -> None:
        """Give a grant back of which nothing was settled; nobody can settle it afterwards.

        Raises:
            StorageError: the store refused; the lease gives it back later.
        """
        mine = (GRANT.c.grant_id == grant_id, GRANT.c.state == HELD)
        with writing(self._engine, "abandon quota") as connection:
            connection.execute(sa.update(GRANT).where(*mine).values(state=EXPIRED))

    def next_name(self, base: str) -> str:
        """The name under which a block is to be run: the first of `base/0`, `base/1` ... that was not given back.

        A block that is run again thus finds the grant that it settled or holds, and a new one where it had failed.

        Raises:
            StorageError: the store cannot be read.
        """
        names = GRANT.c.grant_id.startswith(f"{base}/", autoescape=True)
        query = sa.select(GRANT.c.grant_id).where(names, GRANT.c.state == EXPIRED).distinct()
        with reading(self._engine, "read quota") as connection:
            return f"{base}/{len(connection.execute(query).all())}"

    def expire(self, *, now_at: int) -> int:
        """Give back what is held beyond its lease.

        Returns:
            How many grants were closed.

        Raises:
            StorageError: the store refused.
        """
        require_instant("now_at", "expire", now_at)
        over = sa.update(GRANT).where(GRANT.c.state == HELD, GRANT.c.lease_until <= now_at).values(state=EXPIRED)
        with writing(self._engine, "expire quota") as connection:
            return len(set(connection.execute(over.returning(GRANT.c.grant_id)).scalars()))

    def used(self, name: str) -> dict[int, int]:
        """Settled use of a limit by day.

        Raises:
            StorageError: the store cannot be read.
        """
        query = sa.select(QUOTA.c.day, QUOTA.c.used).where(QUOTA.c.name == name).order_by(QUOTA.c.day)
        with reading(self._engine, "read quota") as connection:
            return {row.day: row.used for row in connection.execute(query)}


def settle_in(
    connection: sa.Connection,
    grant_id: str,
    used: Mapping[Meter, int],
    earned: Mapping[Meter, int],
    *,
    close: bool = True,
) -> None:
    """`SqlQuota.settle` within a transaction of the caller's."""
    meters = sorted(_grant(connection, grant_id))
    if not meters and (used or earned):
        raise DataError(f"no quota grant {grant_id!r}", hint="acquire it first")
    usage = _locked(connection, meters)
    mine = _grant(connection, grant_id)
    states = {row["state"] for row in mine.values()}
    if EXPIRED in states:
        raise StorageError(
            f"the lease of quota grant {grant_id!r} ran out", hint="drop the block's decisions; run it anew"
        )
    _check_settlement(grant_id, mine, used, earned)
    for meter, row in mine.items():
        new, gained = used.get(meter, 0), earned.get(meter, 0)
        if row["state"] == SETTLED:
            continue
        values = {"used": new, "earned": gained, "state": SETTLED if close else HELD}
        connection.execute(sa.update(GRANT).where(*_is(GRANT, meter), GRANT.c.grant_id == grant_id).values(values))
        total = {
            "used": usage[meter][0] + new - row["used"],
            "earned": usage[meter][1] + gained - row["earned"],
        }
        connection.execute(sa.update(QUOTA).where(*_is(QUOTA, meter)).values(total))


def _check_acquire(grant_id: str, needs: Sequence[Need], now_at: int, lease_s: float, share: float) -> None:
    require_id("grant_id", "acquire", grant_id)
    require_instant("now_at", "acquire", now_at)
    require_span("lease_s", "acquire", lease_s)
    if not 0 < share <= 1:
        raise ParameterError("share", "acquire", allowed="in (0, 1]", got=share)
    if len({need.meter for need in needs}) != len(needs):
        raise ParameterError("needs", "acquire", allowed="one per meter", got=[need.meter for need in needs])
    for need in needs:
        if need.amount < 0:
            raise ParameterError("amount", f"need of {need.meter}", allowed="0 or more", got=need.amount)


def _check_settlement(
    grant_id: str, mine: Mapping[Meter, Mapping[str, Any]], used: Mapping[Meter, int], earned: Mapping[Meter, int]
) -> None:
    strange = (set(used) | set(earned)) - set(mine)
    if strange:
        raise ParameterError(
            "used", f"settlement of {grant_id!r}", allowed=f"among {sorted(mine)}", got=sorted(strange)
        )
    for meter, row in mine.items():
        new, gained = used.get(meter, 0), earned.get(meter, 0)
        if row["state"] == SETTLED and (new, gained) != (row["used"], row["earned"]):
            raise DataError(f"quota grant {grant_id!r} is settled with other amounts", hint="take a new grant")
        if not row["used"] <= new <= row["amount"] or gained < row["earned"]:
            allowed = f"in [{row['used']}, {row['amount']}] on {meter}"
            raise ParameterError("used", f"settlement of {grant_id!r}", allowed=allowed, got=new)


def _is(table: sa.Table, meter: Meter) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return table.c.name == meter.name, table.c.day == meter.day


def _any_of(table: sa.Table, meters: Sequence[Meter]) -> sa.ColumnElement[bool]:
    return sa.or_(sa.false(), *(sa.and_(*_is(table, meter)) for meter in meters))


def _locked(connection: sa.Connection, meters: Sequence[Meter]) -> dict[Meter, tuple[int, int]]:
    """(used, earned) of each meter, which nobody else changes until the transaction ends; `meters` are sorted."""
    missing = [{**meter._asdict(), "used": 0, "earned": 0} for meter in meters]
    if missing:
        connection.execute(insert_missing(connection, QUOTA), missing)
    # Everybody inserts and locks in the same order, so nobody waits in a circle.
    query = (
        sa.select(QUOTA).where(_any_of(QUOTA, meters)).order_by(in_byte_order(connection, QUOTA.c.name), QUOTA.c.day)
    )
    found = connection.execute(query.with_for_update()).all()
    return {Meter(row.name, row.day): (row.used, row.earned) for row in found}


def _grant(connection: sa.Connection, grant_id: str) -> dict[Meter, Mapping[str, Any]]:
    rows = connection.execute(sa.select(GRANT).where(GRANT.c.grant_id == grant_id)).mappings()
    return {Meter(row["name"], row["day"]): dict(row) for row in rows}


class OtherMetersError(DataError):
    """A grant of this name was made for other meters."""


def _again(grant_id: str, mine: Mapping[Meter, Mapping[str, Any]], meters: Sequence[Meter]) -> dict[Meter, int]:
    if set(mine) != set(meters):
        raise OtherMetersError(f"quota grant {grant_id!r} was made for other meters", hint="name each block once")
    if any(row["state"] == EXPIRED for row in mine.values()):
        raise DataError(f"quota grant {grant_id!r} has expired", hint="run the block again under a new name")
    return {meter: row["amount"] for meter, row in mine.items()}


def _lapse(connection: sa.Connection, meters: Sequence[Meter], now_at: int) -> None:
    over = (_any_of(GRANT, meters), GRANT.c.state == HELD, GRANT.c.lease_until <= now_at)
    connection.execute(sa.update(GRANT).where(*over).values(state=EXPIRED))


def _held(connection: sa.Connection, meters: Sequence[Meter]) -> dict[Meter, int]:
    """What open grants may still use, by meter."""
    left = sa.func.sum(GRANT.c.amount - GRANT.c.used).label("held")
    query = sa.select(GRANT.c.name, GRANT.c.day, left).where(_any_of(GRANT, meters), GRANT.c.state == HELD)
    found = connection.execute(query.group_by(GRANT.c.name, GRANT.c.day))
    return {Meter(row.name, row.day): int(row.held) for row in found}


def _before(connection: sa.Connection, need: Need) -> tuple[int, ...]:
    """What was used on each of the days before, the latest first; it only grows, so to read it unlocked is safe."""
    back = need.limit.lookback_days if need.limit.per_day else 0
    if not back:
        return ()
    days = [need.day - step for step in range(1, back + 1)]
    query = sa.select(QUOTA.c.day, QUOTA.c.used).where(QUOTA.c.name == need.limit.name, QUOTA.c.day.in_(days))
    used = {row.day: row.used for row in connection.execute(query)}
    return tuple(used.get(day, 0) for day in days)


def _share(free: int, share: float, unit: int) -> int:
    return free if share == 1 else min(free, max(math.ceil(free * share), unit))
