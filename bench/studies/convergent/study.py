"""Convergent learning (Li, Yosinski, Clune, Lipson & Hopcroft 2015): do networks learn the same?

Networks that differ in their seed alone, trained on the same images. Layer by layer: correlations
of all units of two of them over test images, the best partners (each for itself, and one to one)
against two nulls, the same by mutual information, sparse linear maps from one network's units to
the other's, and clusters of the units of both. The paper's networks are AlexNets on ImageNet; its
protocol, with what is chosen here where it is silent, stands in docs/convergent-learning.md.

Then the same question to one network before and after it learnt more (`keeping`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ....kernels.errors import SettingError, unknown_name
from ....methods import METHODS, Moments, accuracy, evaluate, mutual_information
from ....methods.activations import Units, moments, sample, unit_layers, unit_rows
from ....methods.matching import Matching, bipartite_matching, semi_matching
from ....methods.sparse_map import lasso, losses
from ....methods.unit_clusters import Kind, clusters, explained, mixing
from ....nnlite import Network
from ....nnlite.checkpoint import load_arrays, save_arrays
from ....nnlite.init import generator
from ...show.style import require
from ..lab import NetworkLab, NetworkSettings, check_least, left_by
from ..study import Part, Row, Study, Work
from .figures import PLACES, draw
from .keeping import keeping
from .tables import tell
from .tree import grown, leaves

KINDS = ("trained", "shuffled", "untrained")
CLUSTERS: tuple[Kind, ...] = ("spectral", "hierarchical")
_MATCHINGS = (("semi", semi_matching), ("bipartite", bipartite_matching))
SHOWN = 6  # images that move a unit most
# the least that a setting may be; a cluster of one unit would be no group
LEAST = {
    "steps": 1, "batch_size": 1, "limit": 2, "fit_limit": 2, "targets": 0, "positions": 1,
    "cluster_size": 2, "keep_classes": 1, "keep_steps": 1, "keep_limit": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Settings(NetworkSettings):
    """networks: how many, compared in all pairs. steps: of training each, Adam at `lr`.

    limit: test images behind all statistics. fit_limit: training images behind the sparse maps,
    which are tested on the former. targets: units of a layer that are mapped to (0: all). alphas:
    L1 strengths for each target by itself. positions: of an image that mutual information reads.
    cluster_size: units a cluster has on average. keep_*: of the second part, one network learning
    `data`'s classes in groups under each of the methods.
    """

    networks: int = 2
    train_limit: int | None = None
    steps: int = 1000
    batch_size: int = 128
    lr: float = 1e-3
    limit: int = 5000
    fit_limit: int = 5000
    targets: int = 64
    alphas: tuple[float, ...] = (
        0.0, 1e-3, 0.003, 0.01, 0.03, 0.05, 0.07, 0.1, 0.15, 0.25, 0.4, 0.6,
    )  # fmt: skip
    tolerance: float = 1e-4
    positions: int = 4
    cluster_size: int = 8
    keep_methods: tuple[str, ...] = ("naive", "ewc", "replay", "fip")
    keep_classes: int = 2
    keep_steps: int = 200
    keep_limit: int = 1000


class _Lab(NetworkLab):
    """The networks, and the moments of pairs over the first test images `x`, in files."""

    def __init__(self, work: Work) -> None:
        super().__init__(work, work.settings.train_limit)
        self.x, _ = self.first(self.settings.limit)

    def pairs(self) -> list[tuple[int, int]]:
        """All pairs of networks."""
        return list(combinations(range(self.settings.networks), 2))

    def nets(self, pair: tuple[int, int], kind: str = "trained") -> list[Network]:
        """The two networks of a pair."""
        if kind == "untrained":
            return [self.fresh(number) for number in pair]
        return [self.load(f"network-{number}", f"network-{number}") for number in pair]

    def kept(self, pair: tuple[int, int], kind: str = "trained") -> list[tuple[Units, Moments]]:
        """The layers of a pair and their moments over test images, from its file."""
        arrays, _ = load_arrays(left_by("matching", self.file(_moments(pair, kind))))
        return [
            (layer, Moments(int(arrays[f"{layer.name}.count"][0]), arrays[f"{layer.name}.mean"],
                            arrays[f"{layer.name}.comoment"]))
            for layer in unit_layers(self.fresh(0))
        ]  # fmt: skip

    def keep(
        self, pair: tuple[int, int], kind: str, found: Iterable[tuple[Units, Moments]]
    ) -> None:
        """Write them."""
        arrays = {}
        for layer, of in found:
            arrays[f"{layer.name}.count"] = np.array([of.count])
            arrays |= {f"{layer.name}.mean": of.mean, f"{layer.name}.comoment": of.comoment}
        save_arrays(self.file(_moments(pair, kind)), arrays, {})


def _moments(pair: tuple[int, int], kind: str) -> str:
    return f"moments-{kind}-{pair[0]}-{pair[1]}"


def _train(number: int) -> Part:
    """The part of a network, each of which has a seed of its own."""

    def train(work: Work) -> Iterator[Row]:
        lab = _Lab(work)
        net = lab.fitted(number)
        net.save(lab.file(f"network-{number}"))
        yield {"ask": "network", "network": number, "accuracy": accuracy(net, *lab.test),
               "parameters": net.num_parameters, "images": len(lab.x)}  # fmt: skip

    return Part(f"network-{number}", train)


def between(found: Moments, units: int) -> np.ndarray:
    """Correlations (U, U) of the first network's units with the second's."""
    return found.correlation()[:units, units:]


def match(work: Work) -> Iterator[Row]:
    """Partners by correlation, of trained pairs and of both nulls; each network's own units."""
    lab, told = _Lab(work), set[tuple[int, str]]()
    grid = [(pair, kind) for pair in lab.pairs() for kind in KINDS]
    for done, (pair, kind) in enumerate(grid):
        work.advance(done, len(grid), f"{pair} {kind}")
        nets = lab.nets(pair, kind)
        layers = unit_layers(nets[0])
        order = None
        if kind == "shuffled":
            order = generator(work.seed, 0x5F).permutation(len(lab.x))
        found = list(zip(layers, moments(nets, lab.x, layers, order), strict=True))
        if kind != "shuffled":
            lab.keep(pair, kind, found)
            for half, number in enumerate(pair):
                if (number, kind) not in told:
                    yield from _within(found, half, number, kind)
                told.add((number, kind))
        for layer, of in found:
            yield {"ask": "match", "kind": kind, "pair": list(pair), "layer": layer.name,
                   "units": layer.units, **_matched(of, layer.units)}  # fmt: skip


def _matched(of: Moments, units: int) -> Row:
    """Sorted scores of both matchings, of the first network's units that vary.

    Who is left with a partner that does not vary scores 0.
    """
    live = of.alive[:units]
    r = between(of, units)[live]
    row: Row = {"live": [int(live.sum()), int(of.alive[units:].sum())]}
    for name, matching in _MATCHINGS:
        scores = np.sort(matching(r).score)[::-1]
        row |= {name: scores.tolist(), f"{name}_mean": float(scores.mean())}
    return row


def _within(
    found: Iterable[tuple[Units, Moments]], half: int, number: int, kind: str
) -> Iterator[Row]:
    """Of a network's units that vary: their deviations, and each one's nearest in its own net."""
    for layer, of in found:
        mine = of.select(slice(half * layer.units, (half + 1) * layer.units))
        r = mine.correlation()[mine.alive][:, mine.alive]
        np.fill_diagonal(r, -1)
        nearest = np.sort(r.max(axis=1, initial=-1))[::-1]
        yield {"ask": "within", "kind": kind, "network": number, "layer": layer.name,
               "units": layer.units, "nearest": nearest.tolist(),
               "nearest_mean": _mean(nearest),
               "deviations": np.sort(mine.std[mine.alive])[::-1].tolist()}  # fmt: skip


def inform(work: Work) -> Iterator[Row]:
    """Partners by mutual information: are they those by correlation, or as correlated?"""
    lab, made = _Lab(work), work.settings
    for pair in lab.pairs():
        kept = lab.kept(pair)
        layers = [layer for layer, _ in kept]
        drawn = sample(lab.nets(pair), lab.x, layers, made.positions, work.seed)
        for done, ((layer, of), values) in enumerate(zip(kept, drawn, strict=True)):
            work.advance(done, len(kept), layer.name)
            a, b = (mutual_information.codes(part) for part in values)
            shared = mutual_information.mutual_information(a, b)
            r = between(of, layer.units)
            live = of.alive[: layer.units]
            row: Row = {"ask": "information", "pair": list(pair), "layer": layer.name,
                        "samples": len(a),
                        "entropy": float(mutual_information.entropies(a)[live].mean())}  # fmt: skip
            for name, matching in _MATCHINGS:
                ours, theirs = matching(shared), matching(r)
                chosen = r[np.arange(len(r)), ours.partner][live]
                row |= {
                    f"{name}_information": float(ours.score[live].mean()),
                    f"{name}_agree": float((ours.partner == theirs.partner)[live].mean()),
                    f"{name}_chosen": float(chosen.mean()),
                    f"{name}_unsigned": float(np.abs(chosen).mean()),
                }
            yield row


def sparse_maps(work: Work) -> Iterator[Row]:
    """The first network's units to the second's, fitted on training images, told on test images."""
    lab, made = _Lab(work), work.settings
    for pair in lab.pairs():
        kept = lab.kept(pair)
        fitted = moments(lab.nets(pair), lab.train[0][: made.fit_limit])
        for done, ((layer, held), of) in enumerate(zip(kept, fitted, strict=True)):
            work.advance(done, len(kept), layer.name)
            units = layer.units
            chosen = generator(work.seed, 0x1A).permutation(units)[: made.targets or units]
            maps = lasso(of, range(units), units + np.sort(chosen), made.alphas, made.tolerance)
            for alpha, loss, count in zip(
                made.alphas, losses(maps, of, held), maps.nonzero, strict=True
            ):
                live = np.isfinite(loss)
                yield {"ask": "map", "pair": list(pair), "layer": layer.name, "units": units,
                       "alpha": alpha, "targets": int(live.sum()),
                       "loss": float(loss[live].mean()),
                       "nonzero": float(count[live].mean())}  # fmt: skip


def cluster(work: Work) -> Iterator[Row]:
    """Clusters of the units of both networks, and whether a group tells a group."""
    lab, made = _Lab(work), work.settings
    for pair in lab.pairs():
        for done, (layer, of) in enumerate(lab.kept(pair)):
            work.advance(done, 1 + done, layer.name)
            units = layer.units
            others = generator(work.seed, 0xC1).permutation(units)
            count = max(2, round(int(of.alive.sum()) / made.cluster_size))
            for kind in CLUSTERS:
                labels = clusters(of.correlation(), count, kind, work.seed)
                found = mixing(labels, units)
                whole, single = explained(of, labels, units)
                random, _ = explained(of, labels, units, others)
                yield {"ask": "cluster", "pair": list(pair), "layer": layer.name, "kind": kind,
                       "clusters": count, "first": found.first.tolist(),
                       "second": found.second.tolist(), "mixed": found.mixed,
                       "balance": found.balance, "several": found.several,
                       "told": _mean(whole), "by_one": _mean(single),
                       "by_others": _mean(random)}  # fmt: skip
        for null in ("trained", "untrained"):
            for layer, of in lab.kept(pair, null):
                yield {"ask": "leaves", "kind": null, "pair": list(pair), "layer": layer.name,
                       **leaves(of, layer.units)}  # fmt: skip


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def picture(work: Work) -> Iterator[Row]:
    """What the figures of features show, of the first pair: a file of arrays beside the rows.

    LAYER.r: correlations with the other network, LAYER.within: with one another. LAYER.partner,
    .score: of bipartite matching. LAYER.shown: the best, middle and worst of the matched.
    LAYER.KIND.tree, .net: as `tree.grown`. LAYER.images (3, 2, SHOWN): the images that move each of
    these units most, LAYER.at (3, 2, SHOWN, 2): where, as shares of height and width.
    """
    lab = _Lab(work)
    pair = lab.pairs()[0]
    nets = lab.nets(pair)
    arrays: dict[str, np.ndarray] = {}
    for kind in ("trained", "untrained"):
        arrays |= grown(lab.kept(pair, kind), kind)
    for layer, of in lab.kept(pair):
        r = between(of, layer.units)
        arrays[f"{layer.name}.within"] = of.correlation()[: layer.units, : layer.units]
        found = bipartite_matching(r)
        shown = _places(found, of.alive[: layer.units] & of.alive[layer.units :][found.partner])
        arrays[f"{layer.name}.r"] = r.astype(np.float32)
        arrays |= {f"{layer.name}.partner": found.partner, f"{layer.name}.score": found.score,
                   f"{layer.name}.shown": shown}  # fmt: skip
        columns = [shown[:3], found.partner[shown[:3]]]
        tops = [_most(n, lab.x, layer, c) for n, c in zip(nets, columns, strict=True)]
        for name, parts in zip(("images", "at"), zip(*tops, strict=True), strict=True):
            arrays[f"{layer.name}.{name}"] = np.stack(parts, axis=1)
    used = np.unique([arrays[name] for name in arrays if name.endswith(".images")])
    for name in [name for name in arrays if name.endswith(".images")]:
        arrays[name] = np.searchsorted(used, arrays[name])
    arrays["images"] = lab.x[used]
    weights = [net.device.get(net.layout.view(net.theta, "0.weight")) for net in nets]
    arrays |= {f"filters.{number}": w for number, w in enumerate(weights)}
    save_arrays(lab.file("pictures"), arrays, {})
    yield {"ask": "picture", "layers": [layer.name for layer, _ in lab.kept(pair)]}


def _places(found: Matching, live: np.ndarray) -> np.ndarray:
    """Units by score: the best, the middle and the worst; then PLACES more of each of the three."""
    order = [unit for unit in found.order() if live[unit]]
    middle = max(0, (len(order) - PLACES) // 2)
    few = min(PLACES, len(order))
    places = [0, len(order) // 2, -1, *range(few), *range(middle, middle + few), *range(-few, 0)]
    return np.array(order)[places]


def _most(
    net: Network, x: np.ndarray, layer: Units, units: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The images (3, SHOWN) on which each unit is largest anywhere, and where (3, SHOWN, 2)."""
    values, at = [], []
    for part in evaluate.parts(net, len(x), 200):
        rows = net.device.get(unit_rows(net, x[part], [layer])[0])[..., units]
        at.append(rows.argmax(axis=1))
        values.append(rows.max(axis=1))
    best = np.argsort(-np.concatenate(values), axis=0, kind="stable")[:SHOWN].T
    place = np.take_along_axis(np.concatenate(at).T, best, axis=1)
    side = max(1, round(layer.positions**0.5))
    return best, np.stack([place // side + 0.5, place % side + 0.5], axis=-1) / side


def parts(settings: Settings) -> Sequence[Part]:
    """In the order in which they need each other.

    Raises SettingError for fewer than two networks and for numbers that lead nowhere,
    UnknownNameError for a method that is none, MissingExtraError before networks are trained.
    """
    if settings.networks < 2:
        raise SettingError(f"networks={settings.networks}: units are compared between two or more")
    check_least(settings, LEAST)
    if min(settings.alphas, default=-1) < 0 or not any(settings.alphas):
        raise SettingError(
            f"alphas={','.join(map(str, settings.alphas)) or 'none'}: none below 0, one above it"
        )
    for method in settings.keep_methods:
        if method not in METHODS:
            raise unknown_name("method", method, METHODS)
    require("scipy", "analysis", "matching")
    require("scikit-learn", "analysis", "LASSO", "sklearn")
    return (
        *(_train(number) for number in range(settings.networks)),
        Part("matching", match),
        Part("information", inform),
        Part("maps", sparse_maps),
        Part("clusters", cluster),
        Part("pictures", picture),
        *(Part(f"keep-{method}", keeping(method)) for method in settings.keep_methods),
    )


STUDY = Study(
    name="convergent-learning",
    summary="which units do networks of other seeds share, and which does a method keep?",
    settings=Settings(),
    parts=parts,
    draw=draw,
    tell=tell,
    notes=(
        "Correlations are over test images, a convolution's over all positions. shuffled: the two "
        "networks see different images; untrained: the same networks before training.",
        "Losses of sparse maps are half the normalised squared error (0.5: predicting the mean); "
        "alpha is for each target by itself, which is the paper's L1 times the layer's units.",
    ),
)
