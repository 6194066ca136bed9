"""`python -m reliability [PART ...]`: see `make reliability`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import faults, kills, place, soak
from .readers import READERS

COMMANDS = ("run", "sweep")
Record = dict[str, Any]


def part_kills(asked: argparse.Namespace) -> Iterator[Record]:
    half = asked.kills // 4
    for what in COMMANDS:
        yield kills.at_every_change(what, 2 if asked.short else None, asked.seed)
    for what in () if asked.short else COMMANDS:
        yield kills.at_random(what, half + asked.kills % 4 * (what == "run"), asked.seed)
        yield kills.at_random(what, half, asked.seed, answered=True)


def part_faults(asked: argparse.Namespace) -> Iterator[Record]:
    for what in COMMANDS:
        yield faults.no_room(what, 2 if asked.short else None, asked.seed)
        yield faults.small_files(what)
        yield faults.read_only(what)
        if not asked.short:
            yield from filter(None, [faults.small_disk(what)])
            yield faults.two_at_once(what, 10)


def part_fuzz(asked: argparse.Namespace) -> Iterator[Record]:
    """Each reader in a process of its own, as an input may end it; in one where time is short."""
    groups = [list(READERS)] if asked.short else [[name] for name in READERS]
    for names in groups:
        more = ["--inputs", str(asked.inputs), "--seed", str(asked.seed)]
        more += ["--engine", "mutation"] * asked.short
        with place.folder() as work:  # libFuzzer ends its process with what that has open
            done = _module([sys.executable, "-m", "reliability.fuzz", *names, *more], work)
        told = [json.loads(line) for line in done.stdout.splitlines()]
        yield from told
        for name in names[len(told) :]:
            said = f"{name}: the process ended with {done.returncode}: {done.stderr[-300:]}"
            yield {"part": "fuzz", "reader": name, "failures": [said]}


def part_soak(asked: argparse.Namespace) -> Iterator[Record]:
    """Each method in a process of its own, so that it has its memory to itself."""
    for method in soak.METHODS[:1] if asked.short else soak.METHODS:
        told = f"soak({method!r}, {asked.tasks}{', Calls()' * asked.short})"
        code = f"import json; from reliability.soak import Calls, soak; print(json.dumps({told}))"
        done = _module([sys.executable, "-c", code])
        try:
            yield json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            yield {"part": "soak", "method": method, "failures": [done.stderr[-300:]]}


def _module(command: list[str], temporary: Path | None = None) -> subprocess.CompletedProcess[str]:
    here = str(Path(__file__).parent.parent)
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "MPLBACKEND": "Agg"}
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


PARTS = {"kills": part_kills, "faults": part_faults, "fuzz": part_fuzz, "soak": part_soak}


def main() -> int:
    parser = argparse.ArgumentParser(prog="reliability", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=200, help="at random moments, in all")
    parser.add_argument(
        "--inputs", type=int, default=5000, help="for each reader, of slow ones a tenth"
    )
    parser.add_argument("--tasks", type=int, default=1000, help="of the soak")
    parser.add_argument("--short", action="store_true", help="what a test has time for")
    parser.add_argument("--results", type=Path, help="a file of JSON lines for the figures")
    asked = parser.parse_args()
    for name in asked.parts:
        if name not in PARTS:
            parser.error(f"no part '{name}'")
    place.preload()
    found = []
    for name in asked.parts or PARTS:
        for record in PARTS[name](asked):
            found.append(record)
            print(_line(record), flush=True)
            for failure in record["failures"]:
                print(f"    {failure}", flush=True)
    if asked.results:
        _write(asked, found)
    failed = sum(len(record["failures"]) for record in found)
    print(f"{len(found)} checks, {failed} failures")
    return int(failed > 0)


def _line(record: Record) -> str:
    counts = ", ".join(f"{k} {v}" for k, v in record.items() if k not in ("part", "failures"))
    return f"{record['part']}: {counts}: {len(record['failures']) or 'no'} failures"


def _write(asked: argparse.Namespace, found: list[Record]) -> None:
    """The figures, as records of the workbench; parts that were not asked for keep theirs."""
    from weightspace.bench.speed import machine, records

    about = machine.describe()
    earlier = records.read(asked.results) if asked.results.exists() else []
    ran = {one["part"] for one in found}
    made = [records.record("reliability", about, seed=asked.seed, **{
        **one, "failures": len(one["failures"])}) for one in found]  # fmt: skip
    records.write(asked.results, [*(one for one in earlier if one["part"] not in ran), *made])


if __name__ == "__main__":
    begun = time.monotonic()
    status = main()
    print(f"in {time.monotonic() - begun:.0f} s")
    sys.exit(status)
