"""Vowpal Wabbit's text examples, built on whole batches with Arrow's string kernels. Pure functions; golden tests.

Namespaces: x context, c channel, h hour slot, a arm (or hold). Channel and hour are left out where the axis has size 1;
their weights would only repeat those of the others. Names are escaped so that no two ever collide.

VW reads decimals with a fast parser that is off by up to about 4 units in the last place of a float32 (3e-7 relative);
integers and indicators are exact. The parity check at export includes this.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.catalog import Catalog
from engine.encoder import Encoder
from engine.features import ContextBatch
from engine.types import BoolArray, CodeArray, FloatArray

HOLD_FEATURE: Final = "hold"
# The escape character itself comes first, so that no name can be mistaken for an escaped one.
_RESERVED: Final = ("%", " ", ":", "|", "\n", "\r", "\0", "\t", "\v", "\f")
_TABLE: Final = str.maketrans({character: f"%{ord(character):02X}" for character in _RESERVED})


def escape(name: str) -> str:
    """A name without the characters that VW's text format gives a meaning to; different names stay different."""
    return name.translate(_TABLE)


def channel_features(catalog: Catalog) -> tuple[str, ...]:
    """(C,) feature names, empty where the axis has size 1."""
    return tuple(f"channel={escape(name)}" for name in catalog.channels) if len(catalog.channels) > 1 else ("",)


def hour_features(catalog: Catalog) -> tuple[str, ...]:
    """(H,) feature names, empty where the axis has size 1."""
    return tuple(f"hour={escape(str(slot))}" for slot in catalog.hours) if len(catalog.hours) > 1 else ("",)


def arm_features(catalog: Catalog) -> tuple[str, ...]:
    """(K,) feature names; the prefix keeps an arm called "hold" apart from hold."""
    return tuple(f"arm={escape(name)}" for name in catalog.arm_ids)


def action_lines(catalog: Catalog) -> tuple[str, ...]:
    """(k,) action lines without labels: `|c channel=email |h hour=9 |a arm=A`; hold is `|a hold`."""
    lines = [f"|a {HOLD_FEATURE}"]
    for channel in channel_features(catalog):
        for hour in hour_features(catalog):
            for arm in arm_features(catalog):
                parts = (f"|c {channel} " if channel else "", f"|h {hour} " if hour else "", f"|a {arm}")
                lines.append("".join(parts))
    return tuple(lines)


class Apart(NamedTuple):
    """A namespace for columns that are in no pair, and what it multiplies them by."""

    namespace: str
    weight: float


def context_text(encoder: Encoder, context: ContextBatch, hats: Apart | None = None) -> pa.StringArray:
    """(n,) texts `|x age:0.5 zip_code=Urban`; zeros are left out, indicators carry no value.

    Args:
        encoder / context: of the rows.
        hats: where the columns that bend lines into curves stand, so that they are in no pair of x; None leaves them
            in x.

    Raises:
        DataError: the context has another schema than the encoder.
    """
    texts: list[pa.Array] = []
    apart: list[pa.Array] = []
    for coding, (position, values) in zip(encoder.codings, encoder.parts(context), strict=True):
        names = [f" {escape(name)}" for name in coding.columns]
        if values is None:
            texts.append(pa.array(names).take(pa.array(position)))
            continue
        for number, (name, column) in enumerate(zip(names, values.T, strict=False)):
            # Shortest decimals that give the float32 back, as VW reads text to float32.
            written = pc.binary_join_element_wise(f"{name}:", pc.cast(pa.array(column), pa.string()), "")
            own = apart if number and hats is not None else texts
            own.append(pc.if_else(pa.array(column == 0), "", written))
        absent = ["", *names[values.shape[1] :]]
        texts.append(pa.array(absent).take(pa.array(np.maximum(position - values.shape[1] + 1, 0))))
    if not texts:
        return pa.array(["|x"] * context.n, pa.string())
    bends = (pa.scalar(f" |{hats.namespace}:{hats.weight:g}"), *apart) if hats is not None and apart else ()
    return pc.binary_join_element_wise(pa.scalar("|x"), *texts, *bends, "")


def context_row(column_names: tuple[str, ...], row: np.ndarray[tuple[int], np.dtype[np.float32]]) -> str:
    """The same text of one encoded row (d,), for predictions; numeric zeros are left out as well."""
    parts = []
    for name, value in zip(column_names, row.tolist(), strict=True):
        if value:
            parts.append(f" {escape(name)}" if value == 1.0 else f" {escape(name)}:{np.float32(value)!s}")
    return "|x" + "".join(parts)


def mtr_probability(propensity: FloatArray, mean_eligible: float, k: int) -> FloatArray:
    """(n,) probabilities of one-action mtr examples: propensity x mean number of eligible actions / k, in (0, 1].

    On whole action sets VW divides the importance 1 / propensity by the running mean number of actions; a one-action
    example has to bring that factor in its label. VW silently resets a probability above 1 to 1, hence the further
    division by k, which the learning rate undoes (`arguments.learning_arguments`).
    """
    return np.minimum(propensity * (mean_eligible / k), 1.0)


def one_action_examples(
    context: pa.StringArray, lines: tuple[str, ...], action: CodeArray, cost: FloatArray, probability: FloatArray
) -> bytes:
    """Contextual-bandit examples of the chosen actions alone.

    Args:
        context: (n,) of `context_text`.
        lines: (k,) action lines.
        action: (n,) chosen actions.
        cost: (n,) costs, finite.
        probability: (n,) in (0, 1].
    """
    chosen = pa.array([f" {line}\n\n" for line in lines]).take(pa.array(action))
    head = pc.binary_join_element_wise("shared ", context, "\n0:", "")
    return _joined([head, _decimals(cost), pa.scalar(":"), _decimals(probability), chosen], len(action))


def whole_set_examples(
    context: pa.StringArray,
    lines: tuple[str, ...],
    action: CodeArray,
    cost: FloatArray,
    propensity: FloatArray,
    eligible: BoolArray,
) -> bytes:
    """Contextual-bandit examples with one line per eligible action; the chosen one carries the label.

    Args:
        eligible: (n, k) bool; the chosen action is eligible.
    """
    rows, actions = np.nonzero(eligible)
    plain = pa.array([f"{line}\n" for line in lines]).take(pa.array(actions))
    label = pc.binary_join_element_wise("0:", _decimals(cost), ":", _decimals(propensity), " ", "")
    chosen = pa.array(actions == action[rows])
    labelled = pc.if_else(chosen, pc.binary_join_element_wise(label.take(pa.array(rows)), plain, ""), plain)
    offsets = np.concatenate([[0], np.cumsum(eligible.sum(axis=1))]).astype(np.int32)
    sets = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), labelled), "")
    return _joined([pa.scalar("shared "), context, pa.scalar("\n"), sets, pa.scalar("\n")], len(action))


def regression_examples(
    context: pa.StringArray, lines: tuple[str, ...], action: CodeArray, target: FloatArray, weight: FloatArray | None
) -> bytes:
    """Plain regression examples `target weight |x ... |c ... |h ... |a ...` of the chosen actions."""
    chosen = pa.array([f" {line}\n" for line in lines]).take(pa.array(action))
    labels = [_decimals(target)] if weight is None else [_decimals(target), pa.scalar(" "), _decimals(weight)]
    return _joined([*labels, pa.scalar(" "), context, chosen], len(action))


def _decimals(values: FloatArray) -> pa.StringArray:
    # VW keeps labels as float32: more digits would be read and thrown away.
    return pc.cast(pa.array(values.astype(np.float32)), pa.string())


def _joined(parts: list[pa.Array | pa.Scalar], n: int) -> bytes:
    if n == 0:
        return b""
    text = pc.binary_join_element_wise(*parts, "")
    data = text.buffers()[2]
    return bytes(data)[: text.nbytes and int(np.frombuffer(text.buffers()[1], np.int32)[n])]
