"""Steps run one after another, each a process with a limit; records, logs, and a table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OK, FAILED, TIMEOUT, SKIPPED, LEFT = "ok", "failed", "out of time", "skipped", "no time left"
SKIP = 77  # the exit status of a step that has nothing to do here
RECORDS, LOGS, TABLE = "steps.jsonl", "logs.txt", "table.txt"
_LOG = 200_000  # bytes of a step's output that are kept, its end
Record = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """A command, the seconds it may take, and what is set in its environment."""

    name: str
    seconds: float
    command: Sequence[str]
    environment: tuple[tuple[str, str], ...] = ()


def run_steps(steps: Sequence[Step], out: Path, seconds: float) -> list[Record]:
    """Every step within `seconds` together; a record each is appended to OUT as it ends."""
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    records = []
    for step in steps:
        left = end - time.monotonic()
        record, log = run_step(step, left) if left > 1 else (_record(step, LEFT, 0, ""), "")
        records.append(record)
        with (out / RECORDS).open("a") as file:
            file.write(json.dumps(record) + "\n")
        with (out / LOGS).open("a") as file:
            file.write(f"\n==== {step.name}: {record['status']}\n{log}")
        print(line(record), flush=True)
        (out / TABLE).write_text(table(records))
    return records


def run_step(step: Step, left: float) -> tuple[Record, str]:
    """A step's record and its output. Its whole group of processes ends with it."""
    begun = time.monotonic()
    environment = os.environ | dict(step.environment)
    try:
        process = subprocess.Popen(
            step.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
            start_new_session=True,
        )  # fmt: skip
    except OSError as wrong:
        return _record(step, SKIPPED, 0, f"{step.command[0]}: {wrong.strerror}"), ""
    try:
        told, _ = process.communicate(timeout=min(step.seconds, left))
        status = {0: OK, SKIP: SKIPPED}.get(process.returncode, FAILED)
    except subprocess.TimeoutExpired:
        status = TIMEOUT
        os.killpg(process.pid, signal.SIGKILL)
        told, _ = process.communicate()
    log = told.decode(errors="replace")[-_LOG:]
    return _record(step, status, time.monotonic() - begun, _last_line(log)), log


def _record(step: Step, status: str, seconds: float, told: str) -> Record:
    return {"step": step.name, "status": status, "seconds": round(seconds, 1), "told": told}


def _last_line(log: str) -> str:
    """What a step says of itself: the last line that it printed."""
    lines = [text.strip() for text in log.splitlines() if text.strip()]
    return lines[-1][:160] if lines else ""


def line(record: Record) -> str:
    """A record in a line."""
    told = record["told"]
    return f"{record['step']:<28} {record['status']:<12} {record['seconds']:>6.1f} s  {told}"


def table(records: Sequence[Record]) -> str:
    """All records, and how many steps came to what."""
    states = (OK, FAILED, TIMEOUT, SKIPPED, LEFT)
    counts = {state: sum(one["status"] == state for one in records) for state in states}
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return "\n".join([*map(line, records), f"{len(records)} steps: {said}", ""])
