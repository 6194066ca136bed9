"""Ensembles against adversaries: functionally invariant paths beside other ways to make ensembles.

Raghavan & Thomson (arXiv 2205.00334) attack a network and show the images to ten networks along a
path of theirs, to ten trained apart (deep ensembles), to ADP's and to FGE's. Here that attack, by
transfer, stands beside the one that they leave out: every network and ensemble attacked itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....methods import PGD, Ensemble, Task, accuracy, diversity, fip, fit, train_adp, train_fge
from ....methods.adp import ADP
from ....methods.fge import Cycle
from ....methods.tasks import Arrays
from ....methods.vectors import norm
from ....nnlite import Network
from ....nnlite.optim import Adam
from ... import data as data_sets
from ...data import Dataset
from ...runs.networks import find_model
from ...streams.normalise import Scaling, check_normalise, to_float
from ..study import Part, Row, Study, Work
from .figures import draw
from .tables import tell

KINDS = ("fip", "deep", "fge", "adp")
SURROGATES = ("separate", "start")
SAMPLES = 6  # images shown
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # quantiles over inputs that a box plot shows
BINS = np.linspace(-1, 1, 81)


@dataclass(frozen=True)
class Settings:
    """epsilons, epsilon, alpha: in pixels of 0..255; alpha none: 2.5 epsilon / steps.

    steps: of training a network, Adam at `lr`; ADP's members take `adp_steps` together. fip_*: the
    path, `methods.fip.Walk`. test_limit: test images there are at all; limit: of them attacked by
    transfer; white_limit: and directly; strength_limit: and by ever more steps.
    """

    data: str = "fashion-mnist"
    model: str = "fip-cnn"
    normalise: str = "mnist"
    init: str = "uniform_fan_in"
    members: int = 3
    train_limit: int | None = 10_000
    test_limit: int | None = None
    steps: int = 150
    batch_size: int = 128
    lr: float = 1e-3
    adp_steps: int = 150
    adp_alpha: float = 2.0
    adp_beta: float = 0.5
    fge_cycle: int = 60
    fge_high: float = 0.05
    fge_low: float = 5e-4
    fip_steps: int = 12
    fip_length: float = 4.0
    fip_inputs: int = 200
    fip_mu: float = 1e-3
    fip_nu: float = 1e-2
    fip_iterations: int = 8
    limit: int = 200
    white_limit: int = 100
    strength_limit: int = 50
    epsilon: float = 8.0
    epsilons: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0)
    alpha: float | None = None
    pgd_steps: int = 20
    restarts: int = 1
    strengths: tuple[int, ...] = (10, 20, 50)
    strength_restarts: int = 5


@dataclass(frozen=True)
class _Images:
    """A data set as networks get it, with how it was made of pixels."""

    train: Arrays
    test: Arrays
    scaling: Scaling
    classes: int

    @classmethod
    def of(cls, work: Work) -> _Images:
        made: Settings = work.settings
        dataset: Dataset = data_sets.load(made.data, work.data_dir)
        dataset = dataset.limited(made.train_limit, made.test_limit)
        scaling = check_normalise("study", made.normalise, dataset.input_shape[-1])
        return cls(
            (to_float(dataset.train_x, scaling, False), dataset.train_y),
            (to_float(dataset.test_x, scaling, False), dataset.test_y),
            scaling,
            dataset.num_classes,
        )

    def first(self, count: int) -> Arrays:
        """The first test images."""
        return self.test[0][:count], self.test[1][:count]

    def attack(self, made: Settings, epsilon: float, seed: int) -> PGD:
        """The attack of the settings at `epsilon` (of 255)."""
        mean, deviation = self.scaling or (0.0, 1.0)
        alpha = None if made.alpha is None else made.alpha / 255
        return PGD(
            epsilon / 255, alpha, made.pgd_steps, made.restarts,
            mean=mean, deviation=deviation, seed=seed,
        )  # fmt: skip


# ---- networks ------------------------------------------------------------------------------------


def _new(work: Work, images: _Images, number: int) -> Network:
    """Network `number` of a seed: 0 the start, 1 the surrogate, 2.. members."""
    return find_model(work.settings.model)(
        images.classes, input_shape=images.train[0].shape[1:], backend=work.backend,
        seed=1000 * work.seed + number, init=work.settings.init,
    )  # fmt: skip


def _fitted(work: Work, images: _Images, number: int) -> Network:
    made, net = work.settings, _new(work, images, number)
    task = Task.from_arrays("all", images.train, images.first(1))
    fit(net, [task], optimizer=Adam(made.lr), steps=made.steps, batch_size=made.batch_size,
        seed=net.seed)  # fmt: skip
    return net


def _keep(work: Work, kind: str, nets: Sequence[Network], images: _Images) -> Iterable[Row]:
    """Write the networks for later parts; a row for each."""
    start = None if kind in SURROGATES else _load(work, "start")[0]
    for number, net in enumerate(nets):
        work.folder.mkdir(parents=True, exist_ok=True)
        net.save(work.folder / f"{kind}-{number}.safetensors")
        away = None
        if start is not None:
            away = norm(net, net.theta - start.theta)
        yield {"ask": "clean", "kind": kind, "member": number, "away": away,
               "length": norm(net, net.theta),
               "accuracy": accuracy(net, *images.test)}  # fmt: skip
    if kind not in SURROGATES:
        yield {"ask": "clean", "kind": kind, "member": None, "away": None, "length": None,
               "accuracy": Ensemble(nets).accuracy(*images.test)}  # fmt: skip


def _load(work: Work, kind: str) -> list[Network]:
    count = 1 if kind in SURROGATES else work.settings.members
    paths = [work.folder / f"{kind}-{number}.safetensors" for number in range(count)]
    return [Network.load(path, work.backend) for path in paths]


def train_surrogates(work: Work) -> Iterable[Row]:
    """The start, from which FIP and FGE go on, and a network that has nothing to do with any."""
    images = _Images.of(work)
    for number, kind in enumerate(("start", "separate")):
        work.advance(number, 2, kind)
        yield from _keep(work, kind, [_fitted(work, images, number)], images)


def train_deep(work: Work) -> Iterable[Row]:
    """Networks that differ in their seed alone (Lakshminarayanan et al. 2017)."""
    images, nets = _Images.of(work), []
    for number in range(work.settings.members):
        work.advance(number, work.settings.members)
        nets.append(_fitted(work, images, 2 + number))
    return _keep(work, "deep", nets, images)


def train_joint(work: Work) -> Iterable[Row]:
    """ADP: all members together."""
    made, images = work.settings, _Images.of(work)
    nets = [_new(work, images, 102 + number) for number in range(made.members)]
    train_adp(
        nets, images.train, made.adp_steps, ADP(made.adp_alpha, made.adp_beta), Adam(made.lr),
        made.batch_size, work.seed, lambda step, _: work.advance(step, made.adp_steps),
    )  # fmt: skip
    return _keep(work, "adp", nets, images)


def train_cycles(work: Work) -> Iterable[Row]:
    """FGE, from the start on."""
    made, images = work.settings, _Images.of(work)
    cycle = Cycle(made.fge_cycle, made.fge_high, made.fge_low)
    nets = train_fge(
        _load(work, "start")[0], images.train, made.members, cycle, batch_size=made.batch_size,
        decay=5e-4, seed=work.seed,
        watch=lambda step, _: work.advance(step, made.members * made.fge_cycle),
    )  # fmt: skip
    return _keep(work, "fge", nets, images)


def walk_path(work: Work) -> Iterable[Row]:
    """FIP: from the start along a path with L = 0; members at equal distances along it."""
    made, images = work.settings, _Images.of(work)
    walk = fip.Walk(
        made.fip_steps, made.fip_length, made.fip_inputs, made.fip_mu, made.fip_nu,
        made.fip_iterations, seed=work.seed,
    )  # fmt: skip
    nets = walk.run(
        _load(work, "start")[0], images.train, made.members,
        lambda step, _: work.advance(step, made.fip_steps),
    )  # fmt: skip
    return _keep(work, "fip", nets, images)


# ---- attacks -------------------------------------------------------------------------------------


def _answers(ensemble: Ensemble, x: np.ndarray, y: np.ndarray) -> list[float]:
    """Accuracy of each member, then of all together."""
    each = list(ensemble.member_probabilities(x))
    each.append(np.mean(each, axis=0))
    return [float((p.argmax(axis=1) == y).mean()) for p in each]


def attack_by_transfer(work: Work) -> Iterable[Row]:
    """Images made against one network, shown to all."""
    made, images = work.settings, _Images.of(work)
    x, y = images.first(made.limit)
    ensembles = {kind: Ensemble(_load(work, kind)) for kind in KINDS}
    grid = [(name, epsilon) for name in SURROGATES for epsilon in (0.0, *made.epsilons)]
    for done, (name, epsilon) in enumerate(grid):
        work.advance(done, len(grid), f"{name} {epsilon:g}/255")
        surrogate = _load(work, name)[0]
        found = images.attack(made, epsilon, work.seed).run(surrogate, x, y)
        about = {"ask": "transfer", "surrogate": name, "epsilon": epsilon}
        yield {**about, "kind": name, "member": 0, "accuracy": float(found.right.mean())}
        for kind, ensemble in ensembles.items():
            for member, share in enumerate(_answers(ensemble, found.x, y)):
                who = None if member == len(ensemble) else member
                yield {**about, "kind": kind, "member": who, "accuracy": share}
        if name == SURROGATES[0] and epsilon == made.epsilon:
            yield from _samples(images, x, found.x, y, ensembles)


def _samples(
    images: _Images, x: np.ndarray, found: np.ndarray, y: np.ndarray, ensembles: dict[str, Ensemble]
) -> Iterable[Row]:
    """A few images, and what was made of them, as pixels 0..255."""
    mean, deviation = images.scaling or (0.0, 1.0)
    answers = {kind: e.predict(found[:SAMPLES]).tolist() for kind, e in ensembles.items()}

    def pixels(image: np.ndarray) -> list[int]:
        return np.rint(255 * (image * deviation + mean)).astype(int).ravel().tolist()

    for number in range(min(SAMPLES, len(x))):
        yield {"ask": "sample", "shape": list(x.shape[1:]), "label": int(y[number]),
               "before": pixels(x[number]), "after": pixels(found[number]),
               "answers": {kind: given[number] for kind, given in answers.items()}}  # fmt: skip


def attack_directly(work: Work) -> Iterable[Row]:
    """White box: each member, and each ensemble as a whole, by its own gradients."""
    made, images = work.settings, _Images.of(work)
    x, y = images.first(made.white_limit)
    for done, kind in enumerate(KINDS):
        ensemble = Ensemble(_load(work, kind))
        for epsilon in made.epsilons:
            work.advance(done, len(KINDS), f"{kind} {epsilon:g}/255")
            attack = images.attack(made, epsilon, work.seed)
            about = {"ask": "white", "kind": kind, "epsilon": epsilon}
            for member, net in enumerate(ensemble.nets) if epsilon == made.epsilon else ():
                share = float(attack.run(net, x, y).right.mean())
                yield {**about, "member": member, "accuracy": share}
            share = float(attack.run(ensemble, x, y).right.mean())
            yield {**about, "member": None, "accuracy": share}


def attack_harder(work: Work) -> Iterable[Row]:
    """Whether the attack is at its end: ever more steps, then restarts."""
    made, images = work.settings, _Images.of(work)
    x, y = images.first(made.strength_limit)
    targets = {"start": _load(work, "start"), **{kind: _load(work, kind) for kind in KINDS}}
    tries = [(steps, 1) for steps in made.strengths]
    tries.append((made.pgd_steps, made.strength_restarts))
    for done, (kind, nets) in enumerate(targets.items()):
        for steps, restarts in tries:
            work.advance(done, len(targets), f"{kind} {steps} x {restarts}")
            base = images.attack(made, made.epsilon, work.seed)
            attack = replace(base, steps=steps, restarts=restarts)
            found = attack.run(Ensemble(nets), x, y)
            yield {"ask": "strength", "kind": kind, "steps": steps, "restarts": restarts,
                   "epsilon": made.epsilon, "accuracy": float(found.right.mean()),
                   "loss": float(found.loss.mean())}  # fmt: skip


# ---- how different -------------------------------------------------------------------------------


def score(work: Work) -> Iterable[Row]:
    """Diversity by layer, coherence and cosines of input gradients."""
    made, images = work.settings, _Images.of(work)
    x, y = images.first(made.limit)
    surrogates = {
        name: diversity.input_directions(_load(work, name), x, y)[0] for name in SURROGATES
    }
    for done, kind in enumerate(KINDS):
        work.advance(done, len(KINDS), kind)
        nets = _load(work, kind)
        names = [type(layer).__name__ for layer in nets[0].layers]
        for layer, values in enumerate(diversity.diversity(nets, x)):
            yield {"ask": "diversity", "kind": kind, "layer": layer, "name": names[layer],
                   "quantiles": np.quantile(values, LEVELS).tolist()}  # fmt: skip
        directions = diversity.input_directions(nets, x, y)
        values = diversity.coherence(directions)
        row = {"ask": "coherence", "kind": kind, "mean": float(values.mean()),
               "counts": np.histogram(values, BINS)[0].tolist(),
               "cosine": float(diversity.cosines(directions).mean())}  # fmt: skip
        for name, direction in surrogates.items():
            row[name] = float(diversity.alignment(directions, direction).mean())
        yield row


def parts(settings: Settings) -> Sequence[Part]:
    """In the order in which they need each other."""
    return (
        Part("surrogates", train_surrogates),
        Part("fip", walk_path),
        Part("deep", train_deep),
        Part("fge", train_cycles),
        Part("adp", train_joint),
        Part("transfer", attack_by_transfer),
        Part("white-box", attack_directly),
        Part("strength", attack_harder),
        Part("scores", score),
    )


NOTES = (
    "transfer: images made by PGD against one network and shown to the others. separate: that "
    "network was trained for nothing else; start: FIP's path and FGE's cycles begin at it",
    "white box: PGD against the network, or the whole ensemble (its mean probability), itself; "
    "none of these networks was trained against attacks",
)
STUDY = Study(
    name="fip-ensemble",
    summary="ensembles under PGD, by transfer and white box: FIP, deep, FGE and ADP",
    settings=Settings(),
    parts=parts,
    draw=draw,
    tell=tell,
    notes=NOTES,
)
VGG16 = replace(
    STUDY,
    name="fip-ensemble-vgg16",
    summary="the same for VGG16 on CIFAR-10, as in the paper: days on a CPU",
    settings=Settings(
        data="cifar-10",
        model="vgg16",
        normalise="cifar",
        init="he_normal",
        members=10,
        train_limit=None,
        steps=80_000,  # 200 epochs of 50,000 images
        lr=1e-4,
        adp_steps=80_000,
        fge_cycle=782,  # two epochs
        fip_steps=200,
        fip_inputs=500,
        limit=10_000,
        white_limit=1000,
        strength_limit=200,
        restarts=5,
    ),
)
