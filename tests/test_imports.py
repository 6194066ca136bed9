"""Imports run one way, and importing the engine stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = ("kernels", "nnlite", "methods", "bench")
# what each part may import besides the standard library and numpy, at its top or inside functions
HEAVY = {
    "numba", "llvmlite", "cupy", "torch", "jax", "matplotlib", "scipy", "sklearn", "rich", "typer",
}  # fmt: skip
ALLOWED = {
    "kernels": {"numba", "llvmlite", "cupy"},
    "nnlite": set(),
    "methods": {"scipy", "sklearn"},
    "bench": HEAVY,
}


def imports(path: Path):
    """(module, level) of every import in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level


def target_part(path: Path, module: str, level: int) -> str | None:
    """The part of the namespace that a relative import reaches, or None for an outside one."""
    if level == 0:
        return None
    package = path.relative_to(ROOT).parent.parts
    up = len(package) - (level - 1)
    base = package[: max(up, 0)]
    return base[0] if base else module.split(".", maxsplit=1)[0]


@pytest.mark.parametrize("part", ORDER)
def test_imports_run_one_way(part):
    for path in (ROOT / part).rglob("*.py"):
        for module, level in imports(path):
            reached = target_part(path, module, level)
            if reached is not None:
                assert ORDER.index(reached) <= ORDER.index(part), f"{path} imports {reached}"
            assert not module.startswith("weightspace"), f"{path}: use a relative import"


@pytest.mark.parametrize("part", ORDER)
def test_heavy_packages_stay_where_they_belong(part):
    for path in (ROOT / part).rglob("*.py"):
        used = {module.split(".")[0] for module, level in imports(path) if level == 0}
        assert not used & (HEAVY - ALLOWED[part]), f"{path}: {used & (HEAVY - ALLOWED[part])}"


def test_importing_the_engine_loads_nothing_heavy():
    code = (
        "import sys, weightspace.nnlite, weightspace.methods;"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_is_unpickled():
    for part in ORDER:
        for path in (ROOT / part).rglob("*.py"):
            text = path.read_text()
            assert "allow_pickle=True" not in text, path
            assert not {"pickle", "dill", "joblib"} & {m for m, _ in imports(path)}, path
