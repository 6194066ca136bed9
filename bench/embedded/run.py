"""`weightspace bench embedded`: models on targets, beside other makers of C, in one run."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from . import measure, models, peers, report
from .targets import Target, find

# Where all test images are answered; elsewhere a thousand are.
EVERY_IMAGE = "m4f"


@dataclass(frozen=True)
class Amounts:
    """How much is asked of each target: images, of EVERY_IMAGE and of the others, and steps.

    Of other makers' C, whose instructions are what is looked at, `peer_images` at the most.
    """

    all_images: int = 10_000
    images: int = 1_000
    peer_images: int = 100
    steps: int = 200
    slow_steps: int = 20  # where floats are software

    def of(self, target: Target) -> tuple[int, int]:
        """Images and steps of a target."""
        images = self.all_images if target.name == EVERY_IMAGE else self.images
        return images, self.steps if target.fma else self.slow_steps


QUICK = Amounts(100, 50, 10, 10, 3)


def amounts(quick: bool, images: int | None, steps: int | None) -> Amounts:
    """Those of a quick run or a whole one, with other numbers of images or steps everywhere."""
    made = QUICK if quick else Amounts()
    if images is not None:
        made = replace(made, all_images=images, images=images)
    return made if steps is None else replace(made, steps=steps, slow_steps=steps)


def run(
    model: Iterable[str] | None = None,
    target: Iterable[str] | None = None,
    peer: Iterable[str] | None = None,
    asked: Amounts | None = None,
    data_dir: str | None = None,
    console: Console | None = None,
) -> tuple[list[measure.Row], dict[str, str]]:
    """Measure and print everything; returns the rows, by model and operation, and the versions of
    the tools that were there.

    None: all there are. Raises UnknownNameError; what is not installed is in a row, by name.
    """
    console, asked = console or Console(), asked or Amounts()
    chosen, targets, makers = models.find(model), find(target), peers.find(peer)
    rows: list[measure.Row] = []
    with tempfile.TemporaryDirectory(prefix="weightspace-embedded-") as inside:
        for one in chosen:
            with console.status(f"training {one.name}"):
                trained = models.train(one, data_dir)
            found = []
            for row in _of_model(trained, targets, makers, asked, Path(inside, one.name)):
                console.print(
                    f"[dim]{one.name}, {row.operation} on {row.target} by {row.maker}: "
                    f"{row.status}[/]",
                    highlight=False,
                )
                found.append(row)
            rows += _together(found)
    for table in report.tables(rows):
        console.print(table)
    return rows, versions(targets, makers)


def _together(rows: Sequence[measure.Row]) -> list[measure.Row]:
    """Operation by operation."""
    order = list(dict.fromkeys(row.operation for row in rows))
    return sorted(rows, key=lambda row: order.index(row.operation))


def _of_model(
    trained: models.Trained,
    targets: Sequence[Target],
    makers: Sequence[peers.Peer],
    asked: Amounts,
    folder: Path,
) -> Iterator[measure.Row]:
    for target in targets:
        images, steps = asked.of(target)
        place = folder / target.name
        yield measure.predict(trained, target, place / "own", images)
        yield measure.predict_int8(trained, target, place / "int8", images)
        for how in trained.model.learnings:
            name = re.sub(r"\W", "", how)
            yield measure.learn(trained, target, place / name, how, steps)
        for maker in makers:
            few = min(images, asked.peer_images)
            yield peers.measure_peer(maker, trained, target, folder / maker.name, few)


def versions(targets: Iterable[Target], makers: Iterable[peers.Peer]) -> dict[str, str]:
    """Version of each compiler and emulator that is here, and of each peer."""
    tools = {tool for each in targets for tool in (each.compiler, *each.emulator[:1])}
    found = {tool: _version(tool) for tool in sorted(tools) if shutil.which(tool)}
    return found | {maker.name: maker.version for maker in makers}


def _version(tool: str) -> str:
    """What `tool` says of itself; simavr says nothing."""
    if tool == "simavr":
        return "installed"
    done = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or ["?"])[0]
