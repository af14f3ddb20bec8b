"""Rules on what was sent and what happened: topics, cool-downs, sequences, sunset, purchases, tickets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from engine.catalog import Arm
from tests.engine.guardrails.oracle.basic import Params, counted, fullest, slots
from tests.engine.guardrails.oracle.clocks import FARTHEST, planned
from tests.engine.guardrails.oracle.people import MICROSECOND, PROMOTIONAL, PURPOSES, Action, Person, Sent, Setting


def scoped(params: Params, action: Action) -> bool:
    return action.arm.purpose in params.get("applies_to", [PROMOTIONAL])


def horizon(person: Person, setting: Setting) -> list[datetime]:
    """Every moment for which a decision taken now may plan; now stands for the earliest where no clock is known."""
    return [setting.now if at is None else at for at in slots(person, setting)]


def at_some(planned: list[datetime | None], setting: Setting, times: list[datetime], window: timedelta, n: int) -> bool:
    """Whether n sends lie in one window with a send at some of the planned moments.

    Where no clock is known the send may leave at any moment of two days: it is tried at both ends of them, and as
    early and as late as each of the others reaches.
    """
    end = setting.now + FARTHEST
    reach = window - MICROSECOND
    anywhere = [setting.now, end, *(time + step for time in times for step in (-reach, reach))]
    tried = [at for at in planned if at is not None]
    if None in planned:
        tried += [at for at in anywhere if setting.now <= at <= end]
    return any(fullest(times, at, window) >= n for at in tried)


def details_known(person: Person, *names: str) -> bool:
    return person.sends is not None and all(name in person.details for name in names)


def topic_of(arm: Arm) -> str:
    return str(arm.attributes.get("topic", ""))


def template_of(arm: Arm) -> str:
    return str(arm.attributes.get("template", arm.id))


def topic_cap(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """F1, F2: at most n sends on one topic in a rolling window, in some states; unknown topics may be any."""
    if not scoped(params, action):
        return False
    if params["max"] is None:
        return False
    if not details_known(person, "sent_topic"):
        return True
    states, channels = params.get("states"), params.get("channels")
    if states is not None and not _may_be_in(person, states):
        return False
    if channels is not None and action.channel not in channels:
        return False
    window, topic = timedelta(seconds=params["window_s"]), topic_of(action.arm)
    about = [sent for sent in person.sends or () if not topic or not sent.topic or sent.topic == topic]
    times = counted(about, params.get("counts", [PROMOTIONAL]), channels)
    return at_some(slots(person, setting), setting, times, window, params["max"])


def _may_be_in(person: Person, states: list[str]) -> bool:
    known = [person.facts.get("state"), person.facts.get("area_state")]
    return any(state is None or state in states for state in known)


def cooldown(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """F9: the same template not again within a while; arms may share one."""
    if not scoped(params, action):
        return False
    most = params.get("max", 1)
    if most is None:
        return False
    if not details_known(person, "sent_template"):
        return True
    window, template = timedelta(seconds=params["window_s"]), template_of(action.arm)
    templates = {arm.id: template_of(arm) for arm in setting.catalog.arms}
    # A send names its arm; a log may name the template instead. A send without one may have been of any.
    same = [s for s in person.sends or () if not s.template or template in (s.template, templates.get(s.template))]
    return at_some(slots(person, setting), setting, counted(same, PURPOSES, None), window, most)


def sequence(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """F9: A not within a while after B, or never after B; a send without a topic or category may be of any."""
    if not scoped(params, action):
        return False
    pairs = [(pair["a"], pair["b"], pair["window_s"]) for pair in params["pairs"]]
    pairs += [(pair["b"], pair["a"], pair["window_s"]) for pair in params["pairs"] if pair.get("both_ways")]
    pairs = [(_named(a), _named(b), window_s) for a, b, window_s in pairs if window_s is not None]
    if not pairs:
        return False
    if not details_known(person, *("sent_" + key.replace("arm", "template") for _, (key, _), _ in pairs)):
        return True
    for (held, name), by, window_s in pairs:
        if {"arm": action.arm.id, "category": action.arm.category, "topic": topic_of(action.arm)}[held] != name:
            continue
        after = [sent for sent in person.sends or () if _was(by, sent, setting)]
        if window_s == "ever":
            if after:
                return True
            continue
        times = counted(after, PURPOSES, None)
        if at_some(slots(person, setting), setting, times, timedelta(seconds=window_s), 1):
            return True
    return False


def _named(which: Mapping[str, Any]) -> tuple[str, str]:
    ((key, name),) = ((key, name) for key, name in which.items() if name is not None)
    return key, name


def _was(by: tuple[str, str], sent: Sent, setting: Setting) -> bool:
    key, name = by
    told = {"arm": sent.template, "category": sent.category, "topic": sent.topic}[key]
    names = {name, *(template_of(arm) for arm in setting.catalog.arms if key == "arm" and arm.id == name)}
    return not told or told in names


def moments_of(person: Person, action: Action, setting: Setting) -> list[datetime]:
    """When a slot would be sent; where no clock is known the first and the last moment at which it may be."""
    at = planned(person.zone, action.hour, setting.now)
    return [setting.now, setting.now + FARTHEST] if at is None else [at]


def sunset(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """F12: no more after n sends in the window without a sign of interest, or too long after the last sign."""
    most, idle_s = params["max_unengaged"], params.get("idle_s")
    if not scoped(params, action) or (most is None and idle_s is None):
        return False
    if most == 0 or person.sends is None or person.events is None:
        return True
    signs = [event.at for event in person.events if event.kind in params.get("engaged_by", ["opened", "clicked"])]
    counts = params.get("counts", [PROMOTIONAL])
    sends = [sent for sent in person.sends if sent.purpose in counts]
    since = [sent for sent in sends if not signs or sent.at > max(signs)]
    # Without any send there is nothing to end.
    begun = None if not sends else max(signs) if signs else min(sent.at for sent in sends)
    own = [planned(person.zone, action.hour, setting.now)]
    window = timedelta(seconds=params["window_s"])
    if most is not None and at_some(own, setting, [sent.at for sent in since], window, most):
        return True
    for at in moments_of(person, action, setting):
        if idle_s is not None and begun is not None and at - begun >= timedelta(seconds=idle_s):
            return True
    return False


def recent_purchase(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """O6: who bought is not asked to buy the same again for a while; what goes with it may be offered."""
    if not scoped(params, action):
        return False
    if params["window_s"] is None:
        return False
    if person.events is None:
        return True
    arm = action.arm
    if arm.attributes.get("cross_sell") == "yes":
        return False
    everything = params.get("scope", "category") == "all"
    window = timedelta(seconds=params["window_s"])
    return any(
        at - event.at < window
        and (everything or not event.category or not arm.category or event.category == arm.category)
        for event in person.events
        if event.kind == "purchased"
        for at in horizon(person, setting)
    )


def open_ticket(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """O7: nothing while a ticket is open, and until a while after the last was closed."""
    if not scoped(params, action):
        return False
    if person.events is None:
        return True
    count, closed = 0, None
    for event in person.events:
        if event.kind in params.get("opened_by", ["ticket_opened", "complained"]):
            count += 1
        elif event.kind == "ticket_closed":
            count, closed = max(count - 1, 0), event.at
    if count:
        return True
    after = timedelta(seconds=params.get("after_s", 259_200))
    return closed is not None and any(at - closed < after for at in moments_of(person, action, setting))
