"""Parameters of the peers: what a tuned or learnt rule needs besides the log."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.errors import ParameterError

# The names of `policies.registry`, where the classes are: configurations are checked without loading any learner.
LEARNING = ("vw", "linucb", "lin_ts")
RULES = ("recovering_softmax", "best_action", "calendar", "send_time", "volume_threshold")
PEER_NAMES = ("linucb", "lin_ts", *RULES)
TUNED = ("segments", "merge_tag", *RULES)
# What a file of rules ends with (`policies.peers.rule`).
RULE_SUFFIXES = (".yaml", ".yml")
# Six hours each, on the contact's local clock, as the simulator and most senders' tools count them.
DAY_PARTS = {"night": (0, 6), "morning": (6, 12), "afternoon": (12, 18), "evening": (18, 24)}


def is_rule(spec: str) -> bool:
    """Whether a specification of a policy names a file of rules."""
    return Path(spec).suffix.lower() in RULE_SUFFIXES


class PeerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of all peers; each reads its own.

    Attributes:
        ridge: linucb, lin_ts: prior precision of every weight, in rows, > 0.
        alpha: linucb: width of the bound, in standard deviations of the reward, >= 0.
        v: lin_ts: deviation of the noise, in standard deviations of the reward, >= 0.
        temperature: recovering_softmax: of relative differences, > 0. Yancey & Settles have 0.0025 for differences of
            under one per cent; those between whole messages are some ten times as large.
        penalty: recovering_softmax: taken off the score of an arm that was shown just now, >= 0.
        half_life_days: recovering_softmax: after which half of the penalty is gone, > 0.
        last_seen: recovering_softmax: arm -> numeric feature with the days since the contact saw it; without one no arm
            tires.
        every_days: calendar: days between two sends, > 0.
        days_since: calendar: numeric feature with the days since the last send, where the log has it.
        sends_7d: calendar: else the numeric feature that counts the sends of the last seven days.
        opens: send_time: hour slot -> numeric feature with the contact's opens in it.
        usual_hour: send_time: categorical feature that names the part of the day in which the contact opens, where the
            log has it: night, morning, afternoon or evening.
        usual_opens: send_time: such a part counts as so many opens, > 0.
        prior: send_time: the population's hours count as so many opens, > 0.
        volume: volume_threshold: largest share of rounds that are sent to, in [0, 1]; 1 sends wherever it helps.
    """

    ridge: float = 1.0
    alpha: float = 1.0
    v: float = 0.25
    temperature: float = 0.05
    penalty: float = 0.34
    half_life_days: float = 15.0
    last_seen: dict[str, str] = {}
    every_days: float = 7.0
    days_since: str = "days_since_send"
    sends_7d: str = "sends_7d"
    opens: dict[str, str] = {}
    usual_hour: str = "usual_hour"
    usual_opens: float = 20.0
    prior: float = 5.0
    volume: float = 1.0

    def __post_init__(self) -> None:
        above = ("ridge", "temperature", "half_life_days", "every_days", "usual_opens", "prior")
        for name in (*above, "alpha", "v", "penalty"):
            value, least = getattr(self, name), "above 0" if name in above else "at least 0"
            if not (0.0 <= value < float("inf")) or (name in above and value == 0.0):
                raise ParameterError(name, "PeerConfig", allowed=f"finite and {least}", got=value)
        if not 0.0 <= self.volume <= 1.0:
            raise ParameterError("volume", "PeerConfig", allowed="in [0, 1]", got=self.volume)
