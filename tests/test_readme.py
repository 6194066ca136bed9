"""The README's Python runs as printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from weightspace.kernels import available

README = Path(__file__).parents[1] / "README.md"


def test_the_examples_run(tmp_path, monkeypatch):
    pytest.importorskip("numba", reason="the examples use the cpu backend")
    monkeypatch.chdir(tmp_path)  # one of them saves a file
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 6
    if "cuda" not in available():
        if "cuda-host" not in available(study=True):
            pytest.skip("an example is for a GPU; without one it takes g++")
        blocks = [block.replace('backend="cuda"', 'backend="cuda-host"') for block in blocks]
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    assert names["result"].R.shape == (3, 3)
    assert (tmp_path / "net.safetensors").exists()


def test_every_file_it_points_to_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text()):
        if not target.startswith("http"):
            assert (README.parent / target).exists(), target
