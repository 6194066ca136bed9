"""What a figure is made from, in a line: which images, which seeds, which command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_SAID: ContextVar[str] = ContextVar("what figures say they are made from", default="")


@contextmanager
def sourced(images: Iterable[str], seeds: Iterable[int], command: str) -> Iterator[None]:
    """Every figure that is saved inside says this under its axes: `style.save` asks `said`.

    images: which, each once; empty where there are none. seeds: of the runs behind the figure, none
    where nothing is drawn at random. command: as it is typed. An inner line takes the place of an
    outer one.
    """
    told = [", ".join(dict.fromkeys(images)), told_seeds(seeds), command]
    token = _SAID.set("   |   ".join(part for part in told if part))
    try:
        yield
    finally:
        _SAID.reset(token)


def said() -> str:
    """The line of the innermost `sourced`; "" outside of any."""
    return _SAID.get()


def told_seeds(seeds: Iterable[int]) -> str:
    """ "seed 3", "seeds 0 to 9", "seeds 0, 4"; nothing for none."""
    known = sorted(set(seeds))
    if len(known) < 2:
        return f"seed {known[0]}" if known else ""
    if len(known) > 2 and _in_a_row(known):
        return f"seeds {known[0]} to {known[-1]}"
    return f"seeds {', '.join(map(str, known))}"


def _in_a_row(known: Sequence[int]) -> bool:
    return list(known) == list(range(known[0], known[0] + len(known)))


def options(
    assignments: Iterable[str] = (), methods: Iterable[str] = (), backend: str = "cpu",
    seeds: Iterable[int] = (0,),
) -> list[str]:  # fmt: skip
    """The options of `weightspace run` that decide its numbers, as they are typed.

    Of folders in an assignment the names alone: where they lie is the machine's. Seeds that are not
    in a row take a command each: "--seed 0|4".
    """
    words = [word for method in methods for word in ("-m", method)]
    words += [word for one in assignments for word in ("--set", shlex.quote(_without_folders(one)))]
    if backend != "cpu":
        words += ["--backend", backend]
    known = sorted(set(seeds))
    if known and not _in_a_row(known):
        return [*words, "--seed", "|".join(map(str, known))]
    if known and known[0] != 0:
        words += ["--seed", str(known[0])]
    return words + ["--trials", str(len(known))] * (len(known) > 1)


def _without_folders(assignment: str) -> str:
    key, equals, text = assignment.partition("=")
    names = (Path(value).name if "/" in value else value for value in text.split(","))
    return key + equals + ",".join(names)


def images_of(stream: str) -> str:
    """The images of a stream, out of its line for people: what stands before its scenario."""
    head, bracket, _ = stream.partition("), ")
    return head + ")" if bracket else stream
