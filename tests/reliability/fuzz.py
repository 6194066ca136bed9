"""Every reader, given anything: it reads, or refuses in one of our errors, soon and in little room.

An input becomes one file of a folder that is otherwise sound, which is then read as a user would.
Where there is `atheris`, what is tried next follows from the coverage it had (libFuzzer); without,
inputs are the corpus, what was just written, and mutations of both. `corpus/READER/` holds inputs
that once went wrong, or that led coverage further.

    PYTHONPATH=tests python -m reliability.fuzz READER ... --inputs 2000 --seed 0
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import random
import resource
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from . import place

CORPUS = Path(__file__).parent / "corpus"
CPU_SECONDS, ROOM = 20, 1 << 30  # what one input may take, beyond what there is before it
LONGEST = 1 << 14  # bytes of an input
_NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.5, -1.5, 1e308, -1e308, 10**9, 2**63, 2**200, float("nan"),
    float("inf"), "", "x", "../x", "\ud800", "\0", [], [[]], [None], {}, {"": None}, "a" * 5000,
)  # fmt: skip


class TooSlow(BaseException):
    """An input took too long. No reader may catch it."""


class Failures:
    """What went wrong, once for each kind and place, with the first input that did."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.first: dict[str, bytes] = {}

    def add(self, wrong: BaseException, given: bytes) -> None:
        frames = traceback.extract_tb(wrong.__traceback__)
        ours = [f for f in frames if "reliability" not in f.filename] or frames
        where = f"{Path(ours[-1].filename).name}:{ours[-1].name}"
        kind = f"{type(wrong).__name__} in {where}"
        self.first.setdefault(kind, given)
        self.count[kind] += 1

    def lines(self) -> list[str]:
        return [f"{kind} ({count} times), as for {self.first[kind][:200]!r}"
                for kind, count in self.count.most_common()]  # fmt: skip


# ---- one input ---------------------------------------------------------------------------------


def limit_memory() -> None:
    """From now on this process may have no more than it has, and ROOM."""
    try:
        with open("/proc/self/statm") as file:
            held = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + ROOM, -1))
    except OSError:
        pass  # not on this system


def _too_slow(*_: object) -> None:
    raise TooSlow


def check(reader: Any, given: bytes, failures: Failures) -> None:
    """The property, for one input."""
    from weightspace.kernels.errors import WeightspaceError

    signal.signal(signal.SIGPROF, _too_slow)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        reader.read(given)
    except (WeightspaceError, OSError) as refused:  # the command line makes a line of both
        if len(str(refused)) > LONGEST // 2:  # it echoes the file
            failures.add(refused, given)
    except (Exception, TooSlow) as wrong:
        failures.add(wrong, given)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


# ---- inputs ------------------------------------------------------------------------------------


def mutate(given: bytes, rng: random.Random) -> bytes:
    """A near relative: of JSON, or a line of it, with another value somewhere, else of bytes."""
    if rng.random() < 0.6:
        lines = given.split(b"\n")
        at = rng.randrange(len(lines)) if rng.random() < 0.5 else None
        try:
            value = json.loads(given if at is None else lines[at])
            changed = json.dumps(_another(value, rng)).encode()
        except (ValueError, RecursionError):
            pass
        else:
            return changed if at is None else b"\n".join([*lines[:at], changed, *lines[at + 1 :]])
    return _other_bytes(given, rng)


def _another(value: Any, rng: random.Random) -> Any:
    """`value` with one place in it replaced, removed, repeated or wrapped."""
    deeper = rng.random() < 0.9
    if deeper and value and isinstance(value, dict):
        key = rng.choice(list(value))
        rest = {k: v for k, v in value.items() if k != key}
        other = {**value, key: _another(value[key], rng)}
        return rng.choices([other, rest, {**value, "x": value[key]}], [8, 1, 1])[0]
    if deeper and value and isinstance(value, list):
        at = rng.randrange(len(value))
        before, after = value[:at], value[at + 1 :]
        other = [*before, _another(value[at], rng), *after]
        return rng.choices([other, before + after, [*value, value[at]]], [7, 2, 1])[0]
    if rng.random() < 0.05:
        for _ in range(rng.choice([3, 50, 900])):
            value = [value]
        return value
    if isinstance(value, int) and rng.random() < 0.5:
        return value + rng.choice([-1, 1, 7, -value, 10**6])
    return rng.choice(_NASTY)


def _other_bytes(given: bytes, rng: random.Random) -> bytes:
    made = bytearray(given)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(made) + 1)
        to = min(len(made), at + rng.choice([1, 2, 4, 8, 64]))
        made[at:to] = rng.choice([
            b"", bytes(rng.randrange(256) for _ in range(to - at)), bytes(made[at:to]) * 2,
            b"\0" * (to - at), b"\xff" * (to - at), bytes(made[:8]), b"NaN", b"[" * 2000,
            b"\xfe\xff",
        ])  # fmt: skip
    if rng.random() < 0.1:
        del made[rng.randrange(len(made) + 1) :]
    return bytes(made[:LONGEST])


def corpus(name: str) -> list[bytes]:
    """The committed inputs of a reader."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


# ---- engines -----------------------------------------------------------------------------------


def by_mutation(reader: Any, inputs: int, seed: int, failures: Failures) -> int:
    """Seeds, corpus, and mutations of mutations: `inputs` in all, or as many as the first two."""
    rng = random.Random(f"{reader.name} {seed}")
    pool = [*reader.seeds(), *corpus(reader.name)]
    inputs = max(inputs, len(pool))
    for number in range(inputs):
        given = pool[number] if number < len(pool) else mutate(rng.choice(pool), rng)
        check(reader, given, failures)
        if number >= len(pool) and rng.random() < 0.2:
            pool[rng.randrange(len(pool))] = given
    return inputs


def by_coverage(reader: Any, inputs: int, seed: int, failures: Failures, found: Path) -> None:
    """libFuzzer through atheris. It ends the process, so the last input tells what came of it."""
    atheris = importlib.import_module("atheris")
    rng = random.Random(f"{reader.name} {seed}")
    for number, one in enumerate([*reader.seeds(), *corpus(reader.name)]):
        (found / f"{number:04}").write_bytes(one)
    done = [0]

    def one_input(given: bytes) -> None:
        check(reader, given, failures)
        done[0] += 1
        if done[0] == inputs:
            tell(reader, inputs, failures, "atheris")
            sys.stdout.flush()

    def custom(given: bytes, most: int, _: int) -> bytes:
        made = mutate(given, rng) if rng.random() < 0.5 else atheris.Mutate(given, len(given) + 16)
        return bytes(made[:most])

    arguments = [
        "reliability", f"-runs={inputs}", f"-seed={seed + 1}", f"-max_len={LONGEST}",
        "-len_control=0", "-rss_limit_mb=0", "-verbosity=0", "-timeout=600",
        "-print_final_stats=0", str(found),
    ]  # fmt: skip
    atheris.Setup(arguments, one_input, custom_mutator=custom)
    atheris.Fuzz()


def tell(reader: Any, inputs: int, failures: Failures, engine: str) -> None:
    """The record of a reader, as a line of JSON."""
    print(json.dumps({"part": "fuzz", "reader": reader.name, "inputs": inputs, "engine": engine,
                      "failures": failures.lines()}), file=sys.__stdout__, flush=True)  # fmt: skip


def main() -> None:
    from .readers import READERS

    parser = argparse.ArgumentParser()
    parser.add_argument("readers", nargs="+", choices=list(READERS), metavar="READER")
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=["atheris", "mutation"])
    parser.add_argument("--keep", type=Path, help="a folder for what led coverage further")
    asked = parser.parse_args()
    there = importlib.util.find_spec("atheris") is not None
    engine = asked.engine or ("atheris" if there else "mutation")
    if engine == "atheris":
        atheris = importlib.import_module("atheris")
        with atheris.instrument_imports(include=["weightspace", "tomllib", "json", "csv"]):
            import weightspace.bench.cli.app
            import weightspace.bench.data
            import weightspace.bench.runs.report
            import weightspace.bench.sweep
            import weightspace.nnlite.sparse  # noqa: F401
    place.preload()
    place.draw_nothing()
    with place.folder() as work, contextlib.redirect_stdout(sys.stderr):
        for name in asked.readers:  # libFuzzer ends the process after the first
            (work / name).mkdir()
            reader, failures = READERS[name](work / name), Failures()
            inputs = max(1, round(asked.inputs * reader.share))
            limit_memory()
            if engine == "atheris":
                found = asked.keep or work / "found"
                found.mkdir(exist_ok=True)
                by_coverage(reader, inputs, asked.seed, failures, found)
            inputs = by_mutation(reader, inputs, asked.seed, failures)
            tell(reader, inputs, failures, engine)


if __name__ == "__main__":
    main()
