"""Pages of docs whose Python is run, and must print what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"


def check_page(name: str, capsys: Any, blocks: int) -> None:
    """Each ```python of docs/NAME runs, after those before it; each ```text is what was printed
    since the last. blocks: how many there are of both, so that none is lost."""
    page, known = DOCS / name, {}
    found = re.findall(r"```(python|text)\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(found) == blocks
    for kind, block in found:
        if kind == "python":
            exec(compile(block, str(page), "exec"), known)
        else:
            assert capsys.readouterr().out == block
