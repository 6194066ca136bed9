"""The house is in order: no test goes by the clock, and the packages are those that are there."""

from __future__ import annotations

import ast
import configparser
import re
import runpy
from pathlib import Path

import pytest
from test_imports import ORDER, ROOT, imports

# The files of tests/ that read a clock or wait, and what for.
CLOCKS = {
    "gpu_check/runner.py": "keeps each step to its seconds, and says how many it took",
    "reliability/__main__.py": "says how long it took",
    "reliability/kills.py": "kills at random moments of a command that is timed first",
    "reliability/soak.py": "CPU time of a thousand tasks; the tests count calls in its place",
    "test_sweep.py": "waits between two looks at what a process has done so far, however long",
}


def reads_a_clock(path: Path) -> bool:
    """Whether a file imports a module of clocks."""
    return any(module in ("time", "timeit", "datetime") for module, _ in imports(path))


def test_no_test_reads_a_clock():
    """A machine under load is slow: what takes time is tested with a clock that the test moves."""
    tests = ROOT / "tests"
    found = {str(p.relative_to(tests)) for p in tests.rglob("*.py") if reads_a_clock(p)}
    assert found == set(CLOCKS)


def test_tests_are_short():
    """A file is one subject, and a test fits a screen."""
    for path in (ROOT / "tests").rglob("*.py"):
        text = path.read_text()
        assert text.count("\n") <= 450, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path}: {node.name}"


def test_the_house_keeps_what_it_is_held_to():
    """docs/counts.py prints these numbers."""
    counts = runpy.run_path(str(ROOT / "docs" / "counts.py"))
    assert counts["circles"](ROOT) == []
    assert counts["uncalled_kernels"](ROOT) == []
    assert counts["longest_file"](ROOT)[0] < 450
    assert counts["longest_function"](ROOT)[0] < 60


def test_a_circle_is_counted(tmp_path):
    """Also one by way of a package, of an import inside a function, and of types alone."""
    counts = runpy.run_path(str(ROOT / "docs" / "counts.py"))
    (tmp_path / "bench" / "runs").mkdir(parents=True)
    for name, text in (
        ("a", "def f():\n    from .runs import g\n"), ("runs/__init__", "from .b import g\n"),
        ("runs/b", "if TYPE_CHECKING:\n    from .. import a\n"), ("c", "from . import a\n"),
    ):  # fmt: skip
        (tmp_path / "bench" / f"{name}.py").write_text(text)
    (found,) = counts["circles"](tmp_path)
    assert found == ["bench/a.py", "bench/runs/__init__.py", "bench/runs/b.py"]


def test_the_walk_in_contributing_is_true():
    """Every `file.py:function` and `file.py:Class.method` there is where it says."""
    places = re.findall(r"`([\w/]+\.py):([\w.]+)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(places) > 15
    for file, name in places:
        node: ast.AST = ast.parse((ROOT / file).read_text())
        for part in name.split("."):
            inside = {getattr(one, "name", ""): one for one in ast.iter_child_nodes(node)}
            assert part in inside, f"{file}:{name}"
            node = inside[part]


def test_every_folder_says_what_it_is():
    for folder in folders().values():
        said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
        assert len(said) > 40, folder


# ---- the packages -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def listed() -> configparser.ConfigParser:
    found = configparser.ConfigParser()
    found.read(ROOT / "setup.cfg")
    return found


def folders() -> dict[str, Path]:
    """Every package of the tree by its name in the namespace."""
    inits = (init for part in ORDER for init in (ROOT / part).rglob("__init__.py"))
    found = {init.parent.relative_to(ROOT): init.parent for init in inits}
    return {".".join(("weightspace", *place.parts)): folder for place, folder in found.items()}


def test_all_packages_are_listed_and_no_others(listed):
    """One that is not listed works from a checkout, and is missing from the wheel."""
    assert sorted(listed["options"]["packages"].split()) == sorted(folders())


def test_all_code_lies_in_packages():
    inside = {path for folder in folders().values() for path in folder.glob("*.py")}
    assert {path for part in ORDER for path in (ROOT / part).rglob("*.py")} == inside


def test_all_other_files_come_along(listed):
    """Files that are no Python belong to the next package above them; results stay behind."""
    packages = folders()
    covered = {
        path
        for package, patterns in listed["options.package_data"].items()
        for pattern in patterns.replace(",", " ").split()
        for path in packages[package].glob(pattern)
    }
    there = {
        path
        for part in ORDER
        for path in (ROOT / part).rglob("*")
        if path.is_file()
        and path.suffix != ".py"
        and path.parent.name != "__pycache__"  # an older checkout's compiled kernels lie there, too
        and ROOT / "bench/results" not in path.parents
    }
    assert covered == there
