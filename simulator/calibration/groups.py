"""What can be calibrated: each group has a scenario, a file in conf/calibration, goals, and ways to measure and to fit.

A group reads the numbers of others as they ship, so groups can be run one by one and in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from engine.errors import ParameterError
from simulator.calibration import campaign, content, delays, flows, organic, push_fatigue
from simulator.calibration.files import (
    CalibrationFile,
    Moment,
    Provenance,
    data_file,
    find_data,
    load_calibration,
    moments_table,
    stored_goals,
)
from simulator.calibration.fit import Changes, Goal, rows_of
from simulator.calibration.targets.cdnow import read_cdnow
from simulator.calibration.targets.hillstrom import hillstrom_effects
from simulator.calibration.targets.published import Published, load_published
from simulator.scenario import load_scenario, merged

Say = Callable[[str], None]
DELAY_DRAWS: Final = 100_000


@dataclass(frozen=True)
class Asked:
    """What a run was asked for.

    Attributes:
        published: figures.
        contacts: size of the simulated worlds.
        seed: the seed of every draw.
        data: the group's data set, where it has one and it was found.
        say: told the progress.
    """

    published: Published
    contacts: int
    seed: int
    data: Path | None = None
    say: Say = lambda _: None


@dataclass(frozen=True)
class Group:
    """One thing that can be calibrated.

    Attributes:
        name: for the command.
        about: one line for the head of the file.
        file: in conf/calibration.
        scenario: in which it is measured, and whose claims count.
        contacts: default number.
        goals: from what was asked; for data sets, from the data.
        measure: (changes, contacts, seed) -> moments.
        fit: -> numbers of the scenario, and numbers that others take over.
        patterns: names of the data set's file; empty where none is needed.
    """

    name: str
    about: str
    file: str
    scenario: str
    contacts: int
    goals: Callable[[Asked], tuple[Goal, ...]]
    measure: Callable[[Changes, int, int], Mapping[str, float]]
    fit: Callable[[Asked], tuple[Changes, Changes]]
    patterns: tuple[str, ...] = ()


def _campaign_goals(asked: Asked) -> tuple[Goal, ...]:
    ids = (*campaign.LEVEL_IDS, *campaign.FREQUENCY_IDS, *delays.DELAY_IDS)
    return campaign.goals_of(asked.published, ids)


def _campaign_moments(changes: Changes, contacts: int, seed: int) -> dict[str, float]:
    return {
        **campaign.level_moments(changes, contacts, seed),
        **campaign.frequency_moments(changes, contacts, seed),
        **delays.delay_moments(load_scenario(campaign.SCENARIO, changes), DELAY_DRAWS, seed),
    }


def _fit_campaign(asked: Asked) -> tuple[Changes, Changes]:
    taken: Changes = {}
    for name in ("organic", "heartsteps", "hillstrom"):
        taken = merged(taken, load_calibration(name).carried)
    return campaign.fit_campaign(asked.published, asked.contacts, asked.seed, asked.say, taken), {}


def _fit_push(asked: Asked) -> tuple[Changes, Changes]:
    found = push_fatigue.fit_push(asked.published, asked.contacts, asked.seed, asked.say)
    # Others take it over to two digits, which is more than the trial knows: a new fit shall not move their files.
    fatigue = {name: {"push": float(f"{value['push']:.2g}")} for name, value in found["response"].items()}
    return found, {"response": fatigue}


def _data(asked: Asked) -> Path:
    if asked.data is None:
        raise ParameterError("data", "calibrate", allowed="the path of the data set", got=None)
    return asked.data


def _hillstrom_goals(asked: Asked) -> tuple[Goal, ...]:
    return content.goals(hillstrom_effects(_data(asked)))


def _fit_hillstrom(asked: Asked) -> tuple[Changes, Changes]:
    return content.fit_content(hillstrom_effects(_data(asked)), asked.contacts, asked.seed, asked.say)


def _organic_goals(asked: Asked) -> tuple[Goal, ...]:
    return organic.goals(read_cdnow(_data(asked)))


def _fit_organic(asked: Asked) -> tuple[Changes, Changes]:
    asked.say("organic: BG/NBD and baskets by maximum likelihood")
    return organic.fit_organic(read_cdnow(_data(asked)), asked.seed)


GROUPS: Final = {
    group.name: group
    for group in (
        Group(
            "organic",
            "Orders without any message, of CDNOW's cohort.",
            "organic",
            organic.SCENARIO,
            23_570,
            _organic_goals,
            organic.organic_moments,
            _fit_organic,
            ("CDNOW_master.txt*",),
        ),
        Group(
            "heartsteps",
            "How the effect of a push fades, from HeartSteps.",
            "heartsteps",
            push_fatigue.SCENARIO,
            1_500,
            lambda asked: push_fatigue.goals(asked.published),
            push_fatigue.push_moments,
            _fit_push,
        ),
        Group(
            "hillstrom",
            "What men's and women's e-mail does by purchase history, from Hillstrom's test.",
            "hillstrom",
            content.SCENARIO,
            40_000,
            _hillstrom_goals,
            content.content_moments,
            _fit_hillstrom,
            ("hillstrom*.csv*", "*Hillstrom*.csv*"),
        ),
        Group(
            "campaign",
            "Numbers of a shop's messages to its whole list.",
            "base",
            campaign.SCENARIO,
            2_000,
            _campaign_goals,
            _campaign_moments,
            _fit_campaign,
        ),
        Group(
            "flows",
            "What a triggered message does beyond its trigger; on top of base.",
            "flow",
            flows.SCENARIO,
            2_000,
            lambda asked: campaign.goals_of(asked.published, flows.IDS),
            flows.flow_moments,
            lambda asked: (flows.fit_flows(asked.published, asked.contacts, asked.seed, asked.say), {}),
        ),
    )
}
ALL: Final = "all"


def groups_of(names: tuple[str, ...]) -> tuple[Group, ...]:
    """The groups asked for, in an order in which each ships before those that take over its numbers.

    Raises:
        ParameterError: an unknown name.
    """
    unknown = [name for name in names if name not in GROUPS and name != ALL]
    if unknown:
        raise ParameterError("group", "calibrate", allowed=f"of {[*GROUPS, ALL]}", got=unknown[0])
    return tuple(group for group in GROUPS.values() if not names or ALL in names or group.name in names)


def asked_of(group: Group, contacts: int | None, seed: int, folder: Path | None, say: Say) -> Asked:
    """A group's settings, with its data set where the folder has it.

    Raises:
        DataError: no such folder.
        ParameterError: fewer than 1 contact.
    """
    if contacts is not None and contacts < 1:
        raise ParameterError("contacts", "calibrate", allowed="at least 1", got=contacts)
    return Asked(load_published(), contacts or group.contacts, seed, find_data(folder, group.patterns), say)


def check(group: Group, asked: Asked) -> tuple[Moment, ...]:
    """The table at the shipped numbers; goals from data that is not at hand are those that the file was fitted to.

    Raises:
        DataError: a goal whose moment was not measured.
    """
    own = group.goals(asked) if asked.data or not group.patterns else stored_goals(load_calibration(group.file))
    asked.say(f"{group.name}: measuring the shipped numbers")
    return _table(group, own, {}, asked)


def fit_group(group: Group, asked: Asked) -> CalibrationFile:
    """Fit the group's numbers and measure them.

    Raises:
        ParameterError: a group that needs a data set, without it.
    """
    parts, carried = group.fit(asked)
    asked.say(f"{group.name}: measuring the fitted numbers")
    command = f"tactful calibrate {group.name}{' --data FOLDER' if group.patterns else ''}"
    return CalibrationFile(
        parts=parts,
        carried=carried,
        provenance=Provenance(
            command=f"{command} --contacts {asked.contacts} --seed {asked.seed}",
            seed=asked.seed,
            contacts=asked.contacts,
            version=version("tactful"),
            data=(data_file(asked.data),) if asked.data else (),
        ),
        moments=_table(group, group.goals(asked), parts, asked),
    )


def _table(group: Group, goals: tuple[Goal, ...], changes: Changes, asked: Asked) -> tuple[Moment, ...]:
    moments = group.measure(changes, asked.contacts, asked.seed)
    return moments_table(rows_of(goals, moments), load_scenario(group.scenario).spec.claims)
