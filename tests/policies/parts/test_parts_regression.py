"""policies/parts/regression.py against closed forms on a design matrix that is read from the text itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from engine.encoder import fit_encoder, smooth_encoder
from engine.errors import LearnError
from policies.parts import regression
from policies.parts.config import PartsConfig
from policies.parts.regression import Choice, Fitted, Kind, Rows, _Bench, regress
from policies.parts.terms import PAIRS, Terms, matches
from policies.vw import wall
from policies.vw.arguments import VwConfig
from tests.policies.parts.parts_worlds import catalog, context, log

CONFIG = VwConfig(bit_precision=16)
PAIR_SETS = [(), ("xc", "xt"), tuple(pair for pair in PAIRS if pair != "xt")]


# Lines; curves; curves of the context's own beside lines for every action.
CURVES = [False, True, "straight"]


def terms_of(*, smooth: bool | str = False, actions: bool = True) -> Terms:
    encoder = fit_encoder(log().context.schema, [log().context])
    encoder = smooth_encoder(encoder, [log().context]) if smooth else encoder
    found = Terms(catalog(), encoder, matches(catalog(), encoder, PartsConfig().match), actions)
    return replace(found, straight=smooth == "straight")


def rows_of(target: str, n: int = 3000, seed: int = 1) -> Rows:
    batch = log(n, seed)
    return Rows(batch.context, batch.action, batch.rewards[target], batch.cluster)


def fitted(rows: Rows, kind: Kind, terms: Terms, pairs: tuple[str, ...] = (), ridge: float = 30.0, passes: int = 300):
    return regress(lambda: [rows], kind, Choice([terms], [pairs], [ridge], 10**6, passes, 0), CONFIG)


def features(text: str, pairs: tuple[str, ...]) -> dict[tuple[str, ...], float]:
    """What Vowpal Wabbit makes of a line: its features, the products of pairs of namespaces, and a constant."""
    spaces: dict[str, dict[str, float]] = {}
    for part in text.split("|")[1:]:
        head, *words = part.split()
        name, _, weight = head.partition(":")
        own = spaces.setdefault(name, {})
        for word in words:
            feature, _, value = word.partition(":")
            own[feature] = float(value or 1.0) * float(weight or 1.0)
    out: dict[tuple[str, ...], float] = {("constant",): 1.0}
    out |= {(space, feature): value for space, own in spaces.items() for feature, value in own.items()}
    for first, second in pairs:
        for (one, v), (other, w) in product(spaces.get(first, {}).items(), spaces.get(second, {}).items()):
            out[first, one, second, other] = v * w
    return out


def design(terms: Terms, rows: Rows, pairs: tuple[str, ...]) -> np.ndarray:
    lines = [features(text, pairs) for text in terms.texts(rows.context, rows.action).to_pylist()]
    names = {name: column for column, name in enumerate(sorted({name for line in lines for name in line}))}
    matrix = np.zeros((len(lines), len(names)))
    for row, line in enumerate(lines):
        for name, value in line.items():
            matrix[row, names[name]] = value
    return matrix


def ridge_logistic(x: np.ndarray, y: np.ndarray, ridge: float, offset: float) -> np.ndarray:
    """Scores without the offset at the minimum of the log loss + ridge/2 |w|^2."""
    sign = np.where(y > 0, 1.0, -1.0)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (x @ w + offset)
        gradient = x.T @ (-sign * expit(-margin)) + ridge * w
        return float(np.logaddexp(0.0, -margin).sum() + ridge / 2 * w @ w), gradient

    w = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-14}).x
    return x @ w


def centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean()


@pytest.fixture
def to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "TERMINATION", 1e-8)


@pytest.mark.usefixtures("to_the_end")
@pytest.mark.parametrize("pairs", PAIR_SETS)
@pytest.mark.parametrize("smooth", CURVES)
def test_chance_is_a_ridge_logistic_regression(pairs: tuple[str, ...], smooth: bool | str) -> None:
    """On the very features that the text holds, with the penalty of the same name; the constant is set afterwards."""
    terms, rows = terms_of(smooth=smooth), rows_of("clicked")
    found = fitted(rows, "chance", terms, pairs)
    ours = np.log(found.own(rows.context, rows.action) / (1 - found.own(rows.context, rows.action)))
    mean = rows.target.mean()
    theirs = ridge_logistic(design(terms, rows, pairs), rows.target, 30.0, np.log(mean / (1 - mean)))
    assert np.ptp(theirs) > 0.8
    np.testing.assert_allclose(centred(ours), centred(theirs), atol=0.02)


@pytest.mark.usefixtures("to_the_end")
@pytest.mark.parametrize("pairs", PAIR_SETS)
def test_money_is_a_ridge_least_squares_regression(pairs: tuple[str, ...]) -> None:
    """Its closed form: (X'X + ridge/2 I)^-1 X'y, as Vowpal Wabbit's squared loss has no half in front."""
    terms, rows = terms_of(), rows_of("margin")
    found = fitted(rows, "money", terms, pairs)
    x, y = design(terms, rows, pairs), (rows.target - rows.target.mean()) / rows.target.std()
    theirs = rows.target.std() * x @ np.linalg.solve(x.T @ x + 15.0 * np.eye(x.shape[1]), x.T @ y)
    assert np.ptp(theirs) > 0.5
    np.testing.assert_allclose(centred(found.own(rows.context, rows.action)), centred(theirs), atol=0.02)


def test_the_shipped_optimiser_stops_near_the_minimum() -> None:
    """With as many passes as it is given, it loses less than a twentieth of what there is to gain over the mean."""
    terms, rows = terms_of(), rows_of("clicked")
    found, best = fitted(rows, "chance", terms, passes=PartsConfig().passes), design(terms, rows, ())
    offset = np.log(rows.target.mean() / (1 - rows.target.mean()))
    sign = np.where(rows.target > 0, 1.0, -1.0)

    def loss(scores: np.ndarray) -> float:
        return float(np.logaddexp(0.0, -sign * scores).mean())

    own = found.own(rows.context, rows.action)
    least = loss(offset + ridge_logistic(best, rows.target, 30.0, offset))
    assert loss(np.log(own / (1 - own))) < least + 0.05 * (loss(np.full(rows.n, offset)) - least)


@pytest.mark.parametrize("kind", ["chance", "money"])
@pytest.mark.parametrize("pairs", PAIR_SETS)
@pytest.mark.parametrize("smooth", CURVES)
def test_tables_are_vowpal_wabbits_own_predictions(
    kind: Kind, pairs: tuple[str, ...], smooth: bool | str, tmp_path: Path
):
    """For actions and contexts that it has not learnt from, up to the constant, which is set afterwards."""
    terms, rows = terms_of(smooth=smooth), rows_of("clicked" if kind == "chance" else "margin")
    found = fitted(rows, kind, terms, pairs, ridge=3.0)
    assert found.parity < 1e-5
    path = tmp_path / "model.vw"
    path.write_bytes(found.model)
    some = context(40, 7)
    scores = found.tables.scores(terms.encoder.encode(some))
    scale = 1.0 if kind == "chance" else float(rows.target.std())
    with wall.load(path, bits=16, batch=True) as model:
        theirs = np.array(
            [
                [scale * model.value(text) for text in terms.texts(some, np.full(40, action)).to_pylist()]
                for action in range(catalog().k)
            ]
        ).T
    # It clamps predictions to the targets that it has seen; what lies at a clamp tells nothing.
    inside = (theirs > theirs.min()) & (theirs < theirs.max())
    assert inside.mean() > 0.8
    apart = (scores - theirs)[inside]
    np.testing.assert_allclose(apart, apart[0], atol=2e-5 * max(1.0, scale))


def test_a_curve_of_the_contexts_own_meets_no_action() -> None:
    terms, rows = terms_of(smooth="straight"), rows_of("clicked")
    tables = fitted(rows, "chance", terms, ("xc", "xh", "xa", "xt"), ridge=3.0).tables
    hats = [name in terms.encoder.hats for name in terms.encoder.column_names]
    assert any(hats)
    assert np.abs(tables.base[:-1][hats]).min() > 0.0
    for own in (tables.channel, tables.hour, tables.arm):
        assert not own[:, :-1][:, hats].any()
    assert tables.arm[:, :-1][:, np.logical_not(hats)].any()


def test_pairs_are_dropped_only_by_a_standard_error() -> None:
    """Where no action matters pairs are of no use, yet the luck of few held-out rows does not decide on them."""
    terms, rows = terms_of(), rows_of("clicked", 600)
    first, none = ("xc", "xa"), ()
    choice = Choice([terms], [first, none], [1000.0], 10**6, 40, 0)
    found = regress(lambda: [replace(rows, target=np.roll(rows.target, 7))], "chance", choice, CONFIG)
    assert found.interactions == first
    weak = Choice([terms], [("xc", "xh", "xa", "xt", "ch", "ca", "ha"), none], [0.01], 10**6, 40, 0)
    assert regress(lambda: [replace(rows, target=np.roll(rows.target, 7))], "chance", weak, CONFIG).interactions == none


def test_every_action_of_a_row_is_the_score_of_its_own() -> None:
    terms, rows = terms_of(), rows_of("clicked", 300)
    found = fitted(rows, "chance", terms, ("xc", "ca"))
    every = found.all(rows.context)
    np.testing.assert_allclose(found.own(rows.context, rows.action), every[np.arange(300), rows.action], rtol=1e-5)
    assert ((every > 0) & (every < 1)).all()


@pytest.mark.parametrize(("kind", "target"), [("chance", "clicked"), ("money", "margin")])
def test_batches_do_not_matter(kind: Kind, target: str) -> None:
    """The same bytes, however the rows are cut into batches; empty batches are nothing."""
    terms, rows = terms_of(), rows_of(target, 1500)
    choice = Choice([replace(terms, actions=False), terms], [(), ("xc",)], [3.0, 30.0, 300.0], 10**6, 40, 0)
    whole = regress(lambda: [rows], kind, choice, CONFIG)
    cuts = [0, 1, 1, 400, 1499, 1500]
    cut = regress(lambda: [rows.take(slice(a, b)) for a, b in pairwise(cuts)], kind, choice, CONFIG)
    assert (cut.ridge, cut.interactions, cut.gain, cut.mean) == (
        whole.ridge,
        whole.interactions,
        whole.gain,
        whole.mean,
    )
    assert cut.tables.base.tobytes() == whole.tables.base.tobytes()
    assert cut.tables.channel_arm.tobytes() == whole.tables.channel_arm.tobytes()


@pytest.mark.parametrize(("kind", "target"), [("chance", "clicked"), ("money", "margin")])
def test_the_order_of_rows_does_not_matter(kind: Kind, target: str) -> None:
    """Sums of floats in another order: the same to the tolerance of the optimiser."""
    terms, rows = terms_of(), rows_of(target)
    mixed = rows.take(np.random.default_rng(3).permutation(rows.n))
    one, other = (fitted(r, kind, terms, ("xc",)).all(context(50, 9)) for r in (rows, mixed))
    np.testing.assert_allclose(one, other, atol=5e-3)


def test_the_mean_is_that_of_the_rows() -> None:
    """Half an event is added to what was seen, so that no chance is ever 0."""
    terms, rows = terms_of(), rows_of("clicked")
    found = fitted(rows, "chance", terms)
    expected = (rows.target.sum() + 0.5) / (rows.n + 1)
    assert found.own(rows.context, rows.action).mean() == pytest.approx(expected, abs=1e-6)
    assert found.mean == rows.target.mean()
    money = fitted(rows_of("margin"), "money", terms)
    assert money.own(rows.context, rows.action).mean() == pytest.approx(rows_of("margin").target.mean(), abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_target_without_variation_is_learnt_as_its_mean(value: float) -> None:
    rows = rows_of("clicked", 400)
    flat = replace(rows, target=np.full(400, value))
    expected = (400 * value + 0.5) / 401
    found = fitted(flat, "chance", terms_of()).all(rows.context)
    np.testing.assert_allclose(found, expected, atol=0.02)
    np.testing.assert_allclose(fitted(flat, "money", terms_of()).all(rows.context), value, atol=1e-5)


def test_contacts_stay_on_one_side() -> None:
    """No contact is fitted on and chosen on, over batches too, and a share of the contacts takes no part."""
    batch = log(4000, contacts=300)
    rows = Rows(batch.context, batch.action, batch.rewards["clicked"], batch.cluster)
    parts = [rows.take(slice(0, 1500)), rows.take(slice(1500, 4000))]
    choice = Choice([terms_of()], [()], [1.0, 2.0], 2000, 5, 0)
    with wall.scratch() as folder:
        bench = _Bench(lambda: parts, "chance", choice, CONFIG, rows.n, folder)
    fit, held = (set(np.concatenate([one.cluster for one in side]).tolist()) for side in (bench._fit, bench._held))
    assert fit
    assert held
    assert not fit & held
    assert 0.3 < (len(fit) + len(held)) / 300 < 0.7
    assert 0.55 < len(fit) / (len(fit) + len(held)) < 0.85


def test_held_out_rows_choose_what_is_there() -> None:
    """The channel matters only to the young: pairs of context and channel are taken, and a small penalty."""
    batch = log(20_000, 5)
    rng = np.random.default_rng(8)
    channel, _, _ = catalog().split(np.maximum(batch.action, 1))
    young = batch.context.columns["motive"].values == 0
    chance = np.where(young & (channel == 1), 0.5, 0.1)
    rows = Rows(batch.context, batch.action, (rng.random(batch.n) < chance).astype(float), batch.cluster)
    choice = Choice([terms_of()], [(), ("xc",)], [1.0, 30.0, 3000.0], 10**6, 40, 0)
    found = regress(lambda: [rows], "chance", choice, CONFIG)
    assert found.interactions == ("xc",)
    assert found.ridge < 3000.0
    assert found.gain is not None
    assert found.gain[0] > 5 * found.gain[1]


@pytest.mark.parametrize("kind", ["chance", "money"])
def test_noise_is_shrunk(kind: Kind) -> None:
    """A target that nothing predicts: the plainest terms, the largest penalty, and no gain."""
    rows = rows_of("clicked", 6000)
    noise = replace(rows, target=(np.random.default_rng(4).random(rows.n) < 0.2).astype(float))
    terms = [replace(terms_of(), actions=False), terms_of()]
    ridges = [1.0, 10.0, 100.0, 1000.0, 10_000.0]
    found = regress(lambda: [noise], kind, Choice(terms, [(), ("xc",)], ridges, 10**6, 40, 0), CONFIG)
    assert found.ridge >= 1000.0
    assert found.gain is not None
    assert found.gain[0] < 2 * found.gain[1] + 1e-4
    assert np.ptp(found.all(rows.context)) < 0.05


def test_what_the_context_alone_says_is_nothing_that_a_message_does() -> None:
    """The young spend more whatever is sent; beyond that a channel brings something or nothing."""
    rows = rows_of("margin", 6000)
    rng, terms = np.random.default_rng(5), terms_of()
    channel, _, _ = catalog().split(np.maximum(rows.action, 1))
    young, noise = rows.context.columns["motive"].values == 0, rng.normal(size=rows.n)
    choice = Choice([replace(terms, actions=False), terms], [(), ("xc",)], [10.0, 100.0, 1000.0], 10**6, 40, 0)

    def learnt(target: np.ndarray) -> Fitted:
        return regress(lambda: [replace(rows, target=target)], "money", choice, CONFIG)

    by_context, by_both = learnt(4.0 * young + noise), learnt(4.0 * young + channel + noise)
    assert by_context.gain is not None
    assert by_context.gain[0] > 5.0 * by_context.gain[1]
    assert by_context.beyond is None or by_context.beyond[0] < 2.0 * by_context.beyond[1]
    assert by_both.gain is not None
    assert by_both.beyond is not None
    assert 5.0 * by_both.beyond[1] < by_both.beyond[0] < by_both.gain[0]


def text_of_clicks(data: Path) -> list[str]:
    """The features of 500 rows; a file of them with their labels."""
    terms, rows = terms_of(), rows_of("clicked", 500)
    labels = np.where(rows.target > 0, "1 1 -1.5 ", "-1 1 -1.5 ").tolist()
    texts: list[str] = terms.texts(rows.context, rows.action).to_pylist()
    data.write_text("".join(f"{head}{text}\n" for head, text in zip(labels, texts, strict=True)))
    return texts


BFGS = "-b 16 --interactions xc --bfgs --predict_only_model --l2 10 --loss_function logistic"


def test_the_cache_of_a_run_is_the_same_data(tmp_path: Path) -> None:
    """A second training on the same file, with other pairs, from the cache or from the text: the same model."""
    data, cache = tmp_path / "rows.txt", tmp_path / "rows.cache"
    text_of_clicks(data)
    plain = BFGS.replace(" --interactions xc", "")
    for arguments, kept, name in ((plain, cache, "first"), (BFGS, cache, "with"), (BFGS, None, "without")):
        wall.train(arguments, data, tmp_path / f"{name}.vw", passes=20, durable=False, cache=kept)
    assert cache.is_file()
    assert (tmp_path / "with.vw").read_bytes() == (tmp_path / "without.vw").read_bytes()


def test_a_table_of_weights_that_occur_is_the_whole_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, found, size = tmp_path / "rows.txt", [], []
    texts = text_of_clicks(data)
    for bound in (0, 10**9):
        monkeypatch.setattr(wall, "SPARSE_BYTES", bound)
        out = tmp_path / f"{bound}.vw"
        wall.train(BFGS, data, out, passes=20, durable=False)
        size.append(out.stat().st_size)
        with wall.load(out, bits=16, batch=True) as model:
            found.append([model.value(text) for text in texts])
    assert size[0] == size[1]
    assert np.std(found[0]) > 0.01
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_few_rows_are_read_once_and_many_as_often_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same part either way; a long log is never held whole."""
    rows = rows_of("clicked", 400)
    batches = [rows.take(slice(start, start + 100)) for start in range(0, 400, 100)]
    reads, found = [0, 0], []
    for turn, most in enumerate((400, 399)):
        monkeypatch.setattr(regression, "HELD_ROWS", most)

        def stream(turn: int = turn) -> Iterator[Rows]:
            reads[turn] += 1
            yield from batches

        choice = Choice([terms_of()], [()], [30.0], 10**6, 40, 0)
        found.append(regress(stream, "chance", choice, CONFIG))
    assert reads[0] == 1
    assert reads[1] > 3
    assert found[0].tables.base.tobytes() == found[1].tables.base.tobytes()
    assert found[0].mean == found[1].mean


def test_no_rows_are_refused() -> None:
    with pytest.raises(LearnError, match="no rows to learn a part from"):
        fitted(rows_of("clicked", 10).take(slice(0, 0)), "chance", terms_of())
