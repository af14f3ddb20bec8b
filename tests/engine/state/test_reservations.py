"""Reserving, dispatching and settling, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import sqlalchemy as sa

from engine.errors import DataError, ParameterError, StorageError
from engine.state.facts import PastSend
from engine.state.protocols import Refused, Reserved
from engine.state.sends.caps import Cap, SendRequest, gap
from engine.state.sends.reservations import COUNTED
from engine.state.store import SqlState
from engine.state.tables import SEND, SEND_STEP
from engine.storage.database import among
from engine.types import MICROSECONDS_PER_S

DAY_S = 86_400
S = MICROSECONDS_PER_S
NOW = 1_790_000_000 * S
THREE = (Cap("three_a_day", 3, DAY_S),)


@pytest.fixture
def state(store_url: str) -> Iterator[SqlState]:
    with SqlState(store_url) as opened:
        yield opened


def request(key: str, at: int = NOW, contact: str = "c1", **more: str) -> SendRequest:
    return SendRequest(key, contact, more.pop("channel", "sms"), more.pop("purpose", "promotional"), at, **more)


def reserve(state: SqlState, *wanted: SendRequest, now: int = NOW, lease_s: float = 60) -> list[Reserved | Refused]:
    return list(state.reserve(wanted, THREE, now_at=now, lease_s=lease_s))


def granted(answers: list[Reserved | Refused]) -> list[str]:
    return [answer.decision_id for answer in answers if isinstance(answer, Reserved)]


def counted(state: SqlState, now: int = NOW) -> int:
    return len(state.history(np.array(["c1"], dtype=object), now_at=now).sent_at)


def test_fourth_is_refused_with_its_instant(state: SqlState) -> None:
    for step in range(3):
        assert granted(reserve(state, request(f"d{step}", NOW + step * S))) == [f"d{step}"]
    refused = reserve(state, request("d3", NOW + 5 * S))[0]
    assert refused == Refused("d3", ("three_a_day",), NOW + DAY_S * S)


def test_one_call_counts_its_own_requests(state: SqlState) -> None:
    wanted = [request(f"d{step}", NOW + step) for step in range(5)]
    others = [request(f"x{step}", NOW + step, contact="c2") for step in range(2)]
    mixed = [wanted[0], others[0], *wanted[1:], others[1]]
    assert granted(reserve(state, *mixed)) == ["d0", "x0", "d1", "d2", "x1"]


def test_same_decision_holds_once(state: SqlState) -> None:
    first, again = reserve(state, request("d"))[0], reserve(state, request("d", NOW + 9), now=NOW + 9)[0]
    assert isinstance(first, Reserved)
    assert isinstance(again, Reserved)
    assert (first.fresh, again.fresh) == (True, False)
    assert (again.send_at, again.lease_until) == (first.send_at, first.lease_until)
    assert counted(state) == 1


def test_same_id_with_other_content_is_an_error(state: SqlState) -> None:
    reserve(state, request("d"))
    with pytest.raises(DataError, match="another contact_id"):
        reserve(state, request("e", contact="c2"), request("d", contact="c2"))
    assert granted(reserve(state, request("e", contact="c3"))) == ["e"]
    with pytest.raises(DataError, match="twice"):
        reserve(state, request("f"), request("f"))


def test_planned_sends_block_what_would_overfill_their_window(state: SqlState) -> None:
    evening = NOW + 10 * 3600 * S
    reserve(state, *(request(f"d{step}", evening + step * S) for step in range(3)))
    refused = reserve(state, request("now", NOW))[0]
    assert isinstance(refused, Refused)
    assert refused.next_allowed_at == evening + DAY_S * S
    # A day before the third of them, the new one and the three no longer share a window.
    early = evening + 2 * S - DAY_S * S
    assert granted(reserve(state, request("early", early), now=early)) == ["early"]


def test_whole_life_is_written_down(state: SqlState) -> None:
    reserve(state, request("d"))
    go = state.dispatch("d", THREE, now_at=NOW + 5)
    assert go == Reserved("d", NOW + 5, NOW + 60 * S, "dispatching", fresh=True)
    assert state.settle("d", "dispatched", now_at=NOW + 9)
    assert not state.settle("d", "dispatched", now_at=NOW + 10)
    with state._engine.connect() as connection:
        steps = connection.execute(sa.select(SEND_STEP).order_by(SEND_STEP.c.step)).all()
    assert [tuple(step)[1:4] for step in steps] == [
        (0, "reserved", NOW),
        (1, "dispatching", NOW + 5),
        (2, "dispatched", NOW + 9),
    ]


def test_only_one_caller_may_send(state: SqlState) -> None:
    reserve(state, request("d"))
    assert isinstance(state.dispatch("d", THREE, now_at=NOW), Reserved)
    assert state.dispatch("d", THREE, now_at=NOW) == Refused("d", ("dispatching",))


def test_lease_that_ran_out_frees_the_place_and_stops_the_slow_holder(state: SqlState) -> None:
    reserve(state, *(request(f"d{step}") for step in range(3)))
    late = NOW + 61 * S
    assert granted(reserve(state, request("new", late), now=late)) == ["new"]
    assert state.dispatch("d0", THREE, now_at=NOW + 62 * S) == Refused("d0", ("released",))
    # A holder whose clock is behind does not get it back either.
    assert state.dispatch("d1", THREE, now_at=NOW) == Refused("d1", ("released",))
    assert counted(state, late) == 1


def test_lease_that_ran_out_unseen_stops_the_holder_too(state: SqlState) -> None:
    reserve(state, request("d"))
    assert state.dispatch("d", THREE, now_at=NOW + 60 * S) == Refused("d", ("lease ran out",))
    assert granted(reserve(state, request("d"), now=NOW + 61 * S)) == ["d"]


def test_lease_runs_from_the_planned_instant(state: SqlState) -> None:
    evening = NOW + 10 * 3600 * S
    reserve(state, request("d", evening))
    assert state.expire(now_at=evening) == 0
    assert isinstance(state.dispatch("d", THREE, now_at=evening + 59 * S), Reserved)


def test_what_is_being_dispatched_counts_until_it_is_proven_otherwise(state: SqlState) -> None:
    reserve(state, *(request(f"d{step}") for step in range(3)))
    state.dispatch("d0", THREE, now_at=NOW + 1)
    late = NOW + 3600 * S
    assert state.expire(now_at=late) == 2
    assert state.expire(now_at=late) == 0
    assert counted(state, late) == 1
    assert state.unsettled(now_at=late) == ("d0",)
    state.settle("d0", "failed", now_at=late, reason="provider has no such message")
    assert counted(state, late) == 0
    assert state.unsettled(now_at=late) == ()
    assert reserve(state, request("d0"), now=late) == [Refused("d0", ("failed",))]


def test_released_is_free_at_once(state: SqlState) -> None:
    reserve(state, *(request(f"d{step}") for step in range(3)))
    state.settle("d1", "released", now_at=NOW, reason="consent withdrawn")
    assert granted(reserve(state, request("new"))) == ["new"]


def test_late_dispatch_is_judged_at_its_real_instant(state: SqlState) -> None:
    """Planned 24 h apart is fine; the first one, 10 minutes late, would come too close to the second."""
    rules = (gap("day", DAY_S),)
    state.reserve([request("a", NOW)], rules, now_at=NOW, lease_s=3600)
    state.reserve([request("b", NOW + DAY_S * S)], rules, now_at=NOW, lease_s=3600)
    late = NOW + 600 * S
    assert state.dispatch("a", rules, now_at=late) == Refused("a", ("day",), NOW + 2 * DAY_S * S)
    assert isinstance(state.dispatch("a", rules, now_at=NOW), Reserved)


@pytest.mark.parametrize(
    ("path", "state_name"),
    [((), "dispatched"), ((), "failed"), (("go",), "released"), (("go", "dispatched"), "failed")],
)
def test_illegal_changes_are_refused(state: SqlState, path: tuple[str, ...], state_name: str) -> None:
    reserve(state, request("d"))
    for step in path:
        if step == "go":
            state.dispatch("d", THREE, now_at=NOW)
        else:
            state.settle("d", step, now_at=NOW)
    with pytest.raises(DataError, match="cannot become"):
        state.settle("d", state_name, now_at=NOW)


def test_unknown_decisions_and_bad_arguments(state: SqlState) -> None:
    with pytest.raises(DataError, match="no send"):
        state.dispatch("nobody", THREE, now_at=NOW)
    with pytest.raises(DataError, match="no send"):
        state.settle("nobody", "released", now_at=NOW)
    with pytest.raises(ParameterError):
        state.settle("nobody", "reserved", now_at=NOW)
    with pytest.raises(ParameterError):
        state.reserve([request("d")], THREE, now_at=NOW, lease_s=0)
    with pytest.raises(ParameterError):
        state.expire(now_at=1.5)  # type: ignore[arg-type]
    assert state.reserve([], THREE, now_at=NOW, lease_s=1) == ()


def test_what_really_went_out_counts(state: SqlState) -> None:
    """Imported history counts, and a send that went out after its reservation was released counts again."""
    reserve(state, request("d"))
    state.settle("d", "released", now_at=NOW)
    past = [PastSend("d", "c1", "sms", "promotional", NOW + 7), PastSend("old", "c1", "sms", "promotional", NOW - 9)]
    state.record(past)
    state.record(past)
    assert state.history(np.array(["c1"], dtype=object), now_at=NOW + 9).sent_at.tolist() == [NOW - 9, NOW + 7]
    assert len(granted(reserve(state, request("e"), request("f")))) == 1
    with pytest.raises(DataError, match="another contact"):
        state.record([PastSend("old", "c2", "sms", "promotional", NOW)])


def test_survives_the_end_of_the_process(store_url: str) -> None:
    with SqlState(store_url) as state:
        reserve(state, *(request(f"d{step}") for step in range(3)))
    with SqlState(store_url) as state:
        assert granted(reserve(state, request("new"))) == []


def test_store_that_cannot_be_opened(tmp_path: object) -> None:
    with pytest.raises(StorageError):
        SqlState(f"sqlite:///{tmp_path}/no/such/folder/x.sqlite")
    for url in ("sqlite://", "sqlite:///:memory:", "mysql://x/y", "nonsense"):
        with pytest.raises(ParameterError, match="url"):
            SqlState(url)
    for arguments in ({"connections": 0}, {"busy_timeout_s": 0}):
        with pytest.raises(ParameterError):
            SqlState(f"sqlite:///{tmp_path}/x.sqlite", **arguments)  # type: ignore[arg-type]


def test_one_contact_is_found_by_its_index(tmp_path: object) -> None:
    """With an index over all states SQLite read every send that was ever made, for each reservation."""
    with SqlState(f"sqlite:///{tmp_path}/x.sqlite") as state, state._engine.connect() as connection:
        where = sa.and_(among(connection, SEND.c.contact_id, ["c"]), SEND.c.state.in_(COUNTED), SEND.c.at > 0)
        query = sa.select(SEND).where(where).compile(connection, compile_kwargs={"render_postcompile": True})
        values = tuple(query.params[name] for name in query.positiontup or ())
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values).all()
    assert any("send_by_contact" in row[-1] for row in plan), plan
