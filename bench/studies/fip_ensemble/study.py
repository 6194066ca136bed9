"""Ensembles against adversaries: functionally invariant paths beside other ways to make ensembles.

Raghavan & Thomson (arXiv 2205.00334) attack a network and show the images to ten networks along a
path of theirs, to ten trained apart (deep ensembles), to ADP's and to FGE's. Here that attack, by
transfer, stands beside the one that they leave out: every network and ensemble attacked itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ....kernels.errors import check_name
from ....methods import PGD, Ensemble, accuracy, diversity, fip, train_adp, train_fge
from ....methods.adp import ADP
from ....methods.fge import Cycle
from ....methods.vectors import norm
from ....nnlite import Network
from ....nnlite.optim import Adam
from ..lab import NetworkLab, NetworkSettings
from ..study import Part, Row, Study, Work
from .figures import draw
from .tables import tell

OTHERS = ("deep", "fge", "adp")
SURROGATES = ("separate", "start")
SAMPLES = 6  # images shown
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # quantiles over inputs that a box plot shows
BINS = np.linspace(-1, 1, 81)


@dataclass(frozen=True)
class Settings(NetworkSettings):
    """epsilons, epsilon, alpha: in pixels of 0..255; alpha none: 2.5 epsilon / steps.

    steps: of training a network, Adam at `lr`; ADP's members take `adp_steps` together. fip_*: the
    paths, `methods.fip.Walk`, one for each of fip_wanders. test_limit: test images there are at
    all; limit: of them attacked by transfer; white_limit: and directly; strength_limit: and by
    ever more steps.
    """

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
    fip_wanders: tuple[str, ...] = fip.WANDERS
    fip_steps: int = 12
    fip_length: float = 4.0
    fip_turn: float | None = 2.0
    fip_rounds: int = 2
    fip_inputs: int = 200
    fip_mu: float = 1e-3
    fip_nu: float = 1e-3
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


class _Lab(NetworkLab):
    """Networks by number, 0 the start, 1 the surrogate, 2.. members; in files by kind.

    A kind is "fip-WANDER", or one of OTHERS.
    """

    def __init__(self, work: Work) -> None:
        super().__init__(work, work.settings.train_limit, work.settings.test_limit)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of ensembles, in the order of tables and figures."""
        return (*(f"fip-{wander}" for wander in self.settings.fip_wanders), *OTHERS)

    def attack(self, epsilon: float) -> PGD:
        """The attack of the settings at `epsilon` (of 255)."""
        made: Settings = self.settings
        mean, deviation = self.scaling or (0.0, 1.0)
        alpha = None if made.alpha is None else made.alpha / 255
        return PGD(
            epsilon / 255, alpha, made.pgd_steps, made.restarts,
            mean=mean, deviation=deviation, seed=self.work.seed,
        )  # fmt: skip

    def nets(self, kind: str) -> list[Network]:
        """The networks of a kind, from the files that its part left."""
        part, count = ("surrogates", 1) if kind in SURROGATES else (kind, self.settings.members)
        part = "fip" if part.startswith("fip-") else part
        return [self.load(part, f"{kind}-{number}") for number in range(count)]

    def keep(
        self, kind: str, nets: Sequence[Network], about: Sequence[Row] | None = None
    ) -> Iterable[Row]:
        """Write the networks for later parts; a row for each, with what is known `about` it."""
        start = None if kind in SURROGATES else self.nets("start")[0]
        for number, net in enumerate(nets):
            net.save(self.file(f"{kind}-{number}"))
            away = None if start is None else norm(net, net.theta - start.theta)
            yield {"ask": "clean", "kind": kind, "member": number, "away": away,
                   "length": norm(net, net.theta), "accuracy": accuracy(net, *self.test),
                   **(about[number] if about else {})}  # fmt: skip
        if kind not in SURROGATES:
            yield {"ask": "clean", "kind": kind, "member": None, "away": None, "length": None,
                   "accuracy": Ensemble(nets).accuracy(*self.test)}  # fmt: skip


# ---- networks ------------------------------------------------------------------------------------


def train_surrogates(work: Work) -> Iterable[Row]:
    """The start, from which FIP and FGE go on, and a network that has nothing to do with any."""
    lab = _Lab(work)
    for number, kind in enumerate(("start", "separate")):
        work.advance(number, 2, kind)
        yield from lab.keep(kind, [lab.fitted(number)])


def train_deep(work: Work) -> Iterable[Row]:
    """Networks that differ in their seed alone (Lakshminarayanan et al. 2017)."""
    lab, nets = _Lab(work), []
    for number in range(work.settings.members):
        work.advance(number, work.settings.members)
        nets.append(lab.fitted(2 + number))
    return lab.keep("deep", nets)


def train_joint(work: Work) -> Iterable[Row]:
    """ADP: all members together."""
    lab, made = _Lab(work), work.settings
    nets = [lab.fresh(102 + number) for number in range(made.members)]
    train_adp(
        nets, lab.train, made.adp_steps, ADP(made.adp_alpha, made.adp_beta), Adam(made.lr),
        made.batch_size, work.seed, lambda step, _: work.advance(step, made.adp_steps),
    )  # fmt: skip
    return lab.keep("adp", nets)


def train_cycles(work: Work) -> Iterable[Row]:
    """FGE, from the start on."""
    lab, made = _Lab(work), work.settings
    cycle = Cycle(made.fge_cycle, made.fge_high, made.fge_low)
    nets = train_fge(
        lab.nets("start")[0], lab.train, made.members, cycle, batch_size=made.batch_size,
        decay=5e-4, seed=work.seed,
        watch=lambda step, _: work.advance(step, made.members * made.fge_cycle),
    )  # fmt: skip
    return lab.keep("fge", nets)


def _walk(made: Settings, wander: str, seed: int) -> fip.Walk:
    """The walk of the settings. Raises UnknownNameError, SettingError."""
    check_name("wander", wander, fip.WANDERS)
    known: Any = wander
    return fip.Walk(
        made.fip_steps, made.fip_length, made.fip_inputs, made.fip_mu, made.fip_nu,
        made.fip_iterations, seed=seed, wander=known, rounds=made.fip_rounds, turn=made.fip_turn,
    )  # fmt: skip


def _note(work: Work, done: int, total: int, wander: str, step: int, net: Network) -> None:
    work.advance(done + step, total, wander)


def walk_paths(work: Work) -> Iterable[Row]:
    """FIP: from the start along paths with L = 0; members at equal distances in outputs."""
    lab, made = _Lab(work), work.settings
    for number, wander in enumerate(made.fip_wanders):
        walk = _walk(made, wander, work.seed)
        total = len(made.fip_wanders) * made.fip_steps
        note = partial(_note, work, number * made.fip_steps, total, wander)
        stops = walk.run(lab.nets("start")[0], lab.train, made.members, note)
        about = [{"step": stop.step, "walked": stop.walked, "turned": stop.turned}
                 for stop in stops]  # fmt: skip
        yield from lab.keep(f"fip-{wander}", [stop.net for stop in stops], about)


# ---- attacks -------------------------------------------------------------------------------------


def _answers(ensemble: Ensemble, x: np.ndarray, y: np.ndarray) -> list[float]:
    """Accuracy of each member, then of all together."""
    each = list(ensemble.member_probabilities(x))
    each.append(np.mean(each, axis=0))
    return [float((p.argmax(axis=1) == y).mean()) for p in each]


def attack_by_transfer(work: Work) -> Iterable[Row]:
    """Images made against one network, shown to all."""
    lab, made = _Lab(work), work.settings
    x, y = lab.first(made.limit)
    ensembles = {kind: Ensemble(lab.nets(kind)) for kind in lab.kinds}
    grid = [(name, epsilon) for name in SURROGATES for epsilon in (0.0, *made.epsilons)]
    for done, (name, epsilon) in enumerate(grid):
        work.advance(done, len(grid), f"{name} {epsilon:g}/255")
        surrogate = lab.nets(name)[0]
        found = lab.attack(epsilon).run(surrogate, x, y)
        about = {"ask": "transfer", "surrogate": name, "epsilon": epsilon}
        yield {**about, "kind": name, "member": 0, "accuracy": float(found.right.mean())}
        for kind, ensemble in ensembles.items():
            for member, share in enumerate(_answers(ensemble, found.x, y)):
                who = None if member == len(ensemble) else member
                yield {**about, "kind": kind, "member": who, "accuracy": share}
        if name == SURROGATES[0] and epsilon == made.epsilon:
            yield from _samples(lab, x, found.x, y, {name: Ensemble([surrogate]), **ensembles})


def _samples(
    lab: _Lab, x: np.ndarray, found: np.ndarray, y: np.ndarray, ensembles: dict[str, Ensemble]
) -> Iterable[Row]:
    """A few images, and what was made of them, as pixels 0..255, with all answers to both."""
    mean, deviation = lab.scaling or (0.0, 1.0)
    unattacked, answers = (
        {kind: e.predict(images[:SAMPLES]).tolist() for kind, e in ensembles.items()}
        for images in (x, found)
    )

    def pixels(image: np.ndarray) -> list[int]:
        return np.rint(255 * (image * deviation + mean)).astype(int).ravel().tolist()

    for number in range(min(SAMPLES, len(x))):
        yield {"ask": "sample", "shape": list(x.shape[1:]), "label": int(y[number]),
               "before": pixels(x[number]), "after": pixels(found[number]),
               "unattacked": {kind: given[number] for kind, given in unattacked.items()},
               "answers": {kind: given[number] for kind, given in answers.items()}}  # fmt: skip


def attack_directly(work: Work) -> Iterable[Row]:
    """White box: each member, and each ensemble as a whole, by its own gradients."""
    lab, made = _Lab(work), work.settings
    x, y = lab.first(made.white_limit)
    for done, kind in enumerate(lab.kinds):
        ensemble = Ensemble(lab.nets(kind))
        for epsilon in made.epsilons:
            work.advance(done, len(lab.kinds), f"{kind} {epsilon:g}/255")
            attack = lab.attack(epsilon)
            about = {"ask": "white", "kind": kind, "epsilon": epsilon}
            for member, net in enumerate(ensemble.nets) if epsilon == made.epsilon else ():
                share = float(attack.run(net, x, y).right.mean())
                yield {**about, "member": member, "accuracy": share}
            share = float(attack.run(ensemble, x, y).right.mean())
            yield {**about, "member": None, "accuracy": share}


def attack_harder(work: Work) -> Iterable[Row]:
    """Whether the attack is at its end: ever more steps, then restarts."""
    lab, made = _Lab(work), work.settings
    x, y = lab.first(made.strength_limit)
    targets = {kind: lab.nets(kind) for kind in ("start", *lab.kinds)}
    tries = [(steps, 1) for steps in made.strengths]
    tries.append((made.pgd_steps, made.strength_restarts))
    for done, (kind, nets) in enumerate(targets.items()):
        for steps, restarts in tries:
            work.advance(done, len(targets), f"{kind} {steps} x {restarts}")
            attack = replace(lab.attack(made.epsilon), steps=steps, restarts=restarts)
            found = attack.run(Ensemble(nets), x, y)
            yield {"ask": "strength", "kind": kind, "steps": steps, "restarts": restarts,
                   "epsilon": made.epsilon, "accuracy": float(found.right.mean()),
                   "loss": float(found.loss.mean())}  # fmt: skip


# ---- how different -------------------------------------------------------------------------------


def score(work: Work) -> Iterable[Row]:
    """Diversity by layer, coherence and cosines of input gradients, places in weight space."""
    lab, made = _Lab(work), work.settings
    x, y = lab.first(made.limit)
    surrogates = {name: diversity.input_directions(lab.nets(name), x, y)[0] for name in SURROGATES}
    for done, kind in enumerate(lab.kinds):
        work.advance(done, len(lab.kinds), kind)
        nets = lab.nets(kind)
        names = [type(layer).__name__ for layer in nets[0].layers]
        for layer, values in enumerate(diversity.diversity(nets, x)):
            yield {"ask": "diversity", "kind": kind, "layer": layer, "name": names[layer],
                   "quantiles": np.quantile(values, LEVELS).tolist()}  # fmt: skip
        directions = diversity.input_directions(nets, x, y)
        found = {"members": diversity.coherence(directions)} | {
            name: diversity.alignment(directions, one) for name, one in surrogates.items()
        }
        for against, values in found.items():
            yield {"ask": "coherence", "kind": kind, "against": against,
                   "mean": float(values.mean()), "deviation": float(values.std()),
                   "counts": np.histogram(values, BINS)[0].tolist()}  # fmt: skip
        yield {"ask": "cosine", "kind": kind, "mean": float(diversity.cosines(directions).mean())}
    yield from _places(lab)


def _places(lab: _Lab) -> Iterable[Row]:
    """Where all networks lie on the principal components of their weights together (Fig. 4C)."""
    kinds = ("start", *lab.kinds)
    who = [(kind, member) for kind in kinds for member in range(len(lab.nets(kind)))]
    weights = [net.device.get(net.theta).copy() for kind in kinds for net in lab.nets(kind)]
    places, shares = fip.principal(np.stack(weights), 2)
    for (kind, member), place in zip(who, places.tolist(), strict=True):
        yield {"ask": "place", "kind": kind, "member": member, "place": place,
               "shares": shares.tolist()}  # fmt: skip


def parts(settings: Settings) -> Sequence[Part]:
    """In the order in which they need each other. Raises the errors of walks that lead nowhere."""
    for wander in settings.fip_wanders:
        _walk(settings, wander, 0)
    return (
        Part("surrogates", train_surrogates),
        Part("fip", walk_paths),
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
    settings=Settings(  # 200 epochs of 50,000 images; cycles of two
        data="cifar-10", model="vgg16", normalise="cifar", init="he_normal", members=10,
        train_limit=None, steps=80_000, lr=1e-4, adp_steps=80_000, fge_cycle=782, fip_steps=40,
        fip_inputs=500, limit=10_000, white_limit=1000, strength_limit=200, restarts=5,
    ),
)  # fmt: skip
