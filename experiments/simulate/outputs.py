"""What `tactful simulate` prints with `--json`."""

from __future__ import annotations

from experiments.outputs import CommandOutput, MetricJoin, Output
from experiments.serve.prices import PricesOutput


class GroupTotals(Output, frozen=True, kw_only=True):
    """One group of contacts over the whole run.

    Attributes:
        contact_days: contacts on the list, summed over days.
        sends / orders_by_message / orders_organic / unsubscribed / complained: counts of what truly happened.
        reward_usd: margin of all orders, less discounts, refunds, sends and lost permissions.
        reward_per_contact_day_usd: the same by contact-day; null where there was none.
    """

    contact_days: int
    sends: int
    orders_by_message: int
    orders_organic: int
    unsubscribed: int
    complained: int
    reward_usd: float
    reward_per_contact_day_usd: float | None


class SimulateOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful simulate --json`.

    Attributes:
        log: the joined log; `sha256` is that of its bytes.
        decisions: its rows.
        reachable_first / reachable_last: contacts who may be sent advertising, at the start of the first and last day.
        sends: channel -> sends.
        removed: rule -> (contact, action) pairs that it removed.
        outcomes: events reported; of them `duplicates` repeat another one, `after_end` come after the last day.
        metrics: metric -> counts of the join at the end of the last day.
        groups: group -> what truly happened.
        resumed_from: days that an earlier, unfinished run had done.
        files: outcomes, metrics (Parquet and JSON), curves, and the policy where one was learnt.
        prices: of the last day; null where nothing was bounded. The log's footer keeps those of every day.
        rules: rule -> its name and what it does.
    """

    log: str
    sha256: str
    scenario: str
    policy: str
    contacts: int
    days: int
    seed: int
    decisions: int
    reachable_first: int
    reachable_last: int
    sends: dict[str, int]
    removed: dict[str, int]
    outcomes: int
    duplicates: int
    after_end: int
    metrics: dict[str, MetricJoin]
    groups: dict[str, GroupTotals]
    resumed_from: int
    notes: tuple[str, ...]
    files: dict[str, str]
    prices: PricesOutput | None = None
    rules: dict[str, str] = {}
