"""What `tactful simulate` and `tactful demo` print with `--json`."""

from __future__ import annotations

from experiments.outputs import BacktestOutput, DecideOutput, MetricJoin
from experiments.outputs_base import CommandOutput, Output
from experiments.outputs_prices import PricesOutput


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


class LivePolicy(Output, frozen=True, kw_only=True):
    """One policy of the demonstration: what the log said of it, and what then happened.

    Attributes:
        offline / offline_low / offline_high: USD per decision by the deciding estimator, with its interval; null where
            it is not defined.
        offline_verdict: against the static segments, on the log.
        live: USD per decision over the live days; `live_first` over as many of them as the backtest saw.
        live_stderr: Monte Carlo standard error of `live`, by contact.
        difference / difference_low / difference_high: of `live`, against the static segments under the same luck, with
            its 95 % interval; null for the segments themselves.
        verdict: better, worse or no difference, by that interval; "" for the segments themselves.
        sends: messages per contact over the live days.
        list_lost: share of the contacts who could be written to at the start and no longer at the end; below 0 where
            the list grew.
    """

    offline: float | None
    offline_low: float | None
    offline_high: float | None
    offline_verdict: str
    live: float
    live_stderr: float
    live_first: float
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    verdict: str
    sends: float
    list_lost: float


class DemoOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful demo --json`. Everything in it is SIMULATED.

    Attributes:
        simulated: the logged campaign under today's segments, with its randomised slice.
        backtest: on its log.
        live: policy -> what then happened on fresh contacts; `vw` and `static_segments` as the backtest trained and
            tuned them, and `no_contact`.
        live_days / live_contacts: size of the live run.
        said: the result in sentences.
        decisions: of the trained policy for a contact file.
    """

    simulated: SimulateOutput
    backtest: BacktestOutput
    live: dict[str, LivePolicy]
    live_days: int
    live_contacts: int
    said: tuple[str, ...]
    decisions: DecideOutput
    folder: str
    files: dict[str, str]


SIMULATE_OUTPUTS: dict[str, type[Output]] = {"simulate": SimulateOutput, "demo": DemoOutput}
