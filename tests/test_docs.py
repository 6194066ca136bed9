"""Every block of Python in the docs runs, page by page from its first to its last."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from weightspace.kernels import available
from weightspace.kernels.errors import MissingExtraError

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "api" not in p.relative_to(DOCS).parts[:1])
OWN = {"export", "int8", "programs", "new-layer"}  # pages whose tests look at what is printed, too
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CODE = {page: BLOCK.findall(page.read_text()) for page in PAGES if page.stem not in OWN}


def test_there_are_blocks():
    assert sum(map(len, CODE.values())) > 20


@pytest.mark.parametrize("page", [p for p in CODE if CODE[p]], ids=lambda p: p.stem)
def test_a_pages_python_runs(page, tmp_path, monkeypatch):
    """In one namespace, as a reader would type it, and in an empty folder."""
    pytest.importorskip("numba", reason="the examples use the cpu backend")
    cuda = "cuda" if "cuda" in available() else "cuda-host"
    if cuda not in available(study=True) and any('"cuda' in block for block in CODE[page]):
        pytest.skip("an example is for a GPU; without one it takes g++")
    monkeypatch.chdir(tmp_path)
    known: dict = {"__name__": "__page__"}
    for block in CODE[page]:
        try:
            exec(compile(block.replace('"cuda"', f'"{cuda}"'), str(page), "exec"), known)
        except MissingExtraError as absent:
            pytest.skip(str(absent))
