"""Outcomes that no reward counts: an event in another spelling, foreign ids or a closed window give rewards of 0.

Such zeros look like a result. The join says it in the new log's notes, and an audit fails where outcomes were given and
none could be credited, or where values are summed and none was given.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from engine.audit.findings import FAIL, PASS, WARN, Finding, not_applicable
from engine.contacts.contacts import EVENTS
from engine.records.schema import STATES, JoinedOutcomes, LogMeta
from engine.state.facts import EVENT_KINDS

CREDITED: Final = "outcomes_credited"
_NEAR: Final = 0.75
_SHOWN: Final = 5
# Common events of messages and shops: that no metric reads one of them is a choice.
_KNOWN: Final = frozenset(
    {*EVENTS, *EVENT_KINDS, "sent", "bounced", "unsubscribed", "ordered", "returned", "refunded", "visited", "viewed"}
)
# Words that look like a state of the dispatch and are none.
_NO_STATE: Final = _KNOWN | {"mailed", "emailed", "called", "filed", "filled"}
_NONE_GIVEN: Final = "no outcomes were given, or reports of the dispatch alone: every reward is 0"
_ADVICE: Final = "see what became of them in `joined` of the log's footer and in the output of `tactful join`"


def misspelt(unread: Iterable[str], read: Sequence[str]) -> dict[str, str]:
    """Events that no metric reads -> the event that one reads, or the state, of nearly the same name, if there is one.

    A state in another spelling is understood when outcomes are read; one with a slip (`faild`) would leave a send that
    failed among those that train.
    """
    states = {_key(state): state for state in STATES[1:]}
    read_keys = {_key(event): event for event in read}
    found = {}
    for event in unread:
        keys = read_keys if _key(event) in _NO_STATE else states | read_keys
        near = difflib.get_close_matches(_key(event), keys, n=1, cutoff=_NEAR)
        if near:
            found[event] = keys[near[0]]
    return dict(sorted(found.items()))


def slips(events: Mapping[str, int], read: Sequence[str] = ()) -> tuple[str, ...]:
    """Sentences on events of nearly the name of a state or of an event that is read.

    Args:
        events: event of the outcomes -> rows.
        read: events that are read, besides the states.
    """
    near = misspelt([event for event in events if event not in {*_KNOWN, *STATES, *read}], read)
    shown = [
        f"the event {event!r} ({_rows(events[event])}) is not read: did you mean {near[event]!r}?" for event in near
    ]
    more = len(shown) - _SHOWN
    return (*shown[:_SHOWN], *([f"{more} other events look like slips as well"] if more > 0 else []))


def _key(event: str) -> str:
    plain = unicodedata.normalize("NFKC", event).casefold()
    return "".join(letter for letter in plain if letter.isalnum()) or plain


def uncredited(joined: JoinedOutcomes) -> tuple[str, ...]:
    """What was hardly meant: sentences for people, the log's notes and `warnings`."""
    if not joined.given:
        return (_NONE_GIVEN,)
    said = []
    if not joined.credited:
        said.append(f"none of {joined.given:,} outcomes could be credited, so every reward is 0: {_why(joined)}")
    elif joined.without_decision > joined.given / 2:
        said.append(f"{joined.without_decision:,} of {joined.given:,} outcomes name no decision of this log")
    said += _unread(joined)
    if joined.credited:
        none = [name for name, credited in joined.metrics.items() if not credited]
        said += [f"metric {name!r} counted none of the outcomes: its reward is 0 in every row" for name in none]
    return (*said, *_without_value(joined))


def contradictory(illegal_states: int, taken_back: int) -> tuple[str, ...]:
    """What reports of the dispatch say against each other, for people and `warnings`."""
    said = []
    if taken_back:
        said.append(
            f"{taken_back:,} decisions were reported as dispatched and as suppressed, and count as not sent: was "
            "a day dispatched twice without --done or a state store?"
        )
    if illegal_states:
        said.append(f"{illegal_states:,} reports name a state that cannot follow the one before, and were passed over")
    return tuple(said)


def valueless(joined: JoinedOutcomes) -> tuple[str, ...]:
    """Metrics that sum values and counted outcomes, none of which has a value."""
    return tuple(name for name, rows in joined.without_value.items() if rows and rows == joined.metrics[name])


def _without_value(joined: JoinedOutcomes) -> list[str]:
    said = []
    for name, rows in joined.without_value.items():
        counted = joined.metrics[name]
        if name in valueless(joined):
            said.append(
                f"metric {name!r} sums value_usd, and none of its {counted:,} outcomes has one: its reward is 0 "
                "in every row"
            )
        elif rows:
            said.append(
                f"metric {name!r} sums value_usd, and {rows:,} of its {counted:,} outcomes have none: they add 0"
            )
    return said


def _unread(joined: JoinedOutcomes) -> list[str]:
    """Events that no metric reads: those of nearly the name of one that is read, and those that nobody knows."""
    strange = [event for event in joined.unread if event in joined.misspelt or event not in _KNOWN]
    said = []
    for event in sorted(strange, key=lambda one: (one not in joined.misspelt, -joined.unread[one], one))[:_SHOWN]:
        meant = joined.misspelt.get(event)
        hint = f"; did you mean {meant!r}?" if meant else ": name it in a metric, or leave it out"
        said.append(f"no metric reads the event {event!r} ({_rows(joined.unread[event])}){hint}")
    if len(strange) > _SHOWN:
        said.append(f"no metric reads {len(strange) - _SHOWN} other events either")
    return said


def _why(joined: JoinedOutcomes) -> str:
    names = [repr(event) for event in list(joined.unread)[:_SHOWN]]
    reasons = (
        (joined.without_decision, "name no decision of this log"),
        (joined.before_decision, "lie before their decision"),
        (joined.after_now, "lie after the join's now"),
        (joined.late, "lie outside the window of every metric that reads them"),
        (sum(joined.unread.values()), f"are of events that no metric reads ({', '.join(names)})"),
    )
    return ", ".join(f"{rows:,} {why}" for rows, why in reasons if rows)


def _rows(rows: int) -> str:
    return f"{rows:,} rows" if rows != 1 else "1 row"


def credited(meta: LogMeta) -> Finding:
    """Whether the outcomes that a log was joined with made its rewards."""
    if isinstance(meta.joined, msgspec.UnsetType):
        return not_applicable(CREDITED, "the log was not joined with outcomes")
    joins = [one for one in meta.joined if one.given]
    if not joins:
        return not_applicable(CREDITED, _NONE_GIVEN)
    given, counted = (sum(getattr(one, name) for one in joins) for name in ("given", "credited"))
    said = [sentence for one in joins for sentence in uncredited(one)]
    failed = any(not one.credited or one.misspelt or valueless(one) for one in joins)
    what = f"{counted:,} of {given:,} outcomes were credited to a decision"
    return Finding(
        CREDITED,
        FAIL if failed else WARN if said else PASS,
        1.0 - counted / given,
        None,
        None,
        "; ".join([what, *said]),
        _ADVICE if said else "",
        details={"joined": [msgspec.to_builtins(one) for one in joins]},
    )
