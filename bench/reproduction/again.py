"""The commands behind kept rows once more, on their first seed: the same numbers to the bit?"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ...kernels.errors import SettingError
from ..studies.rows import Row
from .kept import Kept, differences, rows_of


def first_seed_of(command: str) -> tuple[list[str], int]:
    """The arguments of a command for its first trial alone, and that trial's seed."""
    program, *words = shlex.split(command)
    if program != "weightspace" or words[:1] != ["run"]:
        raise SettingError(f"'{command}' is no `weightspace run`: it is not run again")
    text = " ".join(map(shlex.quote, words))
    text = re.sub(r" --(trials|out|data-dir)[ =]\S+", "", text)
    seed = re.search(r" --seed[ =](\d+)", text)
    return shlex.split(text), int(seed[1]) if seed else 0


def compare(kept: Kept, rows: list[Row], seed: int) -> list[str]:
    """What differs between the kept rows of a seed and `rows`, which a command gave anew.

    Kept rows of other commands are left alone: a new row is held against the kept ones of the same
    place (a run's label and settings, a study's part), in order. Empty for none.
    """
    found: list[str] = []
    mine = [row for row in kept.rows if row["seed"] == seed]
    for number, row in enumerate(rows):
        place = row.get("part"), row.get("method"), row.get("settings")
        same = [one for one in mine if
                (one.get("part"), one.get("method"), one.get("settings")) == place]  # fmt: skip
        ranked = sum((one.get("part"), one.get("method"), one.get("settings")) == place
                     for one in rows[:number])  # fmt: skip
        if ranked >= len(same):
            found.append(f"row {number}: nothing like it was kept ({place[0] or row.get('label')})")
            continue
        known = {key: value for key, value in row.items() if key in same[ranked]}
        if keys := differences(same[ranked], known):
            found.append(f"row {number} ({row.get('label') or place[0]}): {', '.join(keys)}")
    return found


def run_again(
    kept: Kept, command: str, out: Path, data_dir: Path | None,
    call: Callable[[list[str]], object] = lambda words: subprocess.run(words, check=True),
) -> list[str]:  # fmt: skip
    """Run a kept result's command on its first seed into `out`; what differs, empty for nothing."""
    words, seed = first_seed_of(command)
    more = ["--data-dir", str(data_dir)] if data_dir else []
    call([sys.executable, "-m", "weightspace.bench", *words, *more, "--out", str(out), "--resume"])
    return compare(kept, rows_of(out)[0], seed)
