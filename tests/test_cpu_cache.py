"""Compiled kernels on disk: current or compiled anew, shared, read-only, damaged, or nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="the cache is the cpu backend's, which needs numba")
from weightspace.kernels import available, get_backend, places

INNER = """
from weightspace.kernels.cpu.jit import serial

@serial
def step(x):
    return x + {}
"""
OUTER = """
from weightspace.kernels.cpu.jit import serial
from .inner import step

@serial
def twice(x):
    return step(step(x))
"""
# prints the answer, what was found in the cache and what was compiled
ASK = """
import numpy as np
from package.outer import twice
answer = twice(np.{dtype}(1))
print(answer, sum(twice.stats.cache_hits.values()), sum(twice.stats.cache_misses.values()))
"""


class Package:
    """A package of two kernels, one in each file, and processes that use it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache, self.home = folder, folder / "cache", folder / "home"
        (folder / "package").mkdir()
        (folder / "package" / "__init__.py").touch()
        (folder / "package" / "outer.py").write_text(OUTER)
        self.write(inner=1)

    def write(self, inner: int) -> None:
        (self.folder / "package" / "inner.py").write_text(INNER.format(inner))

    def ask(self, before: str = "", dtype: str = "float32", **variables: str):
        """A process's answer: what it printed, and its warnings. The default cache is `cache`."""
        kept = {
            k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
        }
        homes = {"HOME": str(self.home), "LOCALAPPDATA": str(self.home), "TMPDIR": str(self.folder)}
        places = {"WEIGHTSPACE_CACHE": str(self.cache)}
        done = subprocess.run(
            [sys.executable, "-c", before + ASK.format(dtype=dtype)],
            env={**kept, **homes, **places, **variables, "PYTHONPATH": str(self.folder)},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.split(), done.stderr

    def files(self, pattern: str = "*/*") -> list[Path]:
        return sorted((self.cache / "kernels").glob(pattern))


@pytest.fixture
def package(tmp_path):
    return Package(tmp_path)


def test_a_kernel_whose_callee_changed_is_compiled_anew(package):
    assert package.ask()[0] == ["3.0", "0", "1"]
    assert package.ask()[0] == ["3.0", "1", "0"]
    package.write(inner=10)
    assert package.ask()[0] == ["21.0", "0", "1"]
    package.write(inner=1)  # as when one goes back to an older version
    assert package.ask()[0] == ["3.0", "1", "0"]


def test_nothing_is_written_beside_the_source(package):
    package.ask()
    assert package.files()
    assert not list((package.folder / "package").rglob("*.nb?"))


def test_numbas_own_folder_goes_before(package, tmp_path):
    package.ask(NUMBA_CACHE_DIR=str(tmp_path / "numba"))
    assert not package.cache.exists()
    assert list((tmp_path / "numba" / "weightspace" / "kernels").glob("outer-*/*.nbi"))


READ_ONLY = """
import os
writable = os.access
os.access = lambda path, mode: "cache" not in os.path.basename(path) and writable(path, mode)
"""


def test_a_read_only_cache_is_used_and_what_it_lacks_goes_to_the_user(package):
    package.ask()
    before = package.files()
    assert package.ask(READ_ONLY) == (["3.0", "1", "0"], "")
    answer, said = package.ask(READ_ONLY, dtype="float64")
    assert answer == ["3.0", "0", "1"] and said.count("cannot be kept") == 1
    assert package.files() == before
    assert list(package.home.rglob("outer-*/*.nbi"))
    assert package.ask(READ_ONLY, dtype="float64") == (["3.0", "1", "0"], "")


def test_without_any_place_kernels_are_compiled_in_memory(package):
    nowhere = "from weightspace.kernels import places; places._usable = lambda folder: False\n"
    answer, said = package.ask(nowhere)
    assert answer == ["3.0", "0", "1"]
    assert said.count("every process compiles it again") == 1


def test_a_full_disk_costs_the_cache_and_no_more(package):
    full = """
import errno
from weightspace.kernels.cpu import cache
def save(*_):
    raise OSError(errno.ENOSPC, "No space left on device")
cache.IndexDataCacheFile.save = save
"""
    answer, said = package.ask(full)
    assert answer == ["3.0", "0", "1"] and "No space left" in said


@pytest.mark.parametrize("pattern", ["*/*.nbi", "*/*.nbc"])
def test_a_damaged_file_is_compiled_over(package, pattern):
    package.ask()
    for file in package.files(pattern):
        file.write_bytes(file.read_bytes()[:10])
    assert package.ask()[0] == ["3.0", "0", "1"]
    assert package.ask()[0] == ["3.0", "1", "0"]


def test_variants_compiled_at_once_do_not_share_a_file(package):
    """Numba's index of a function is read, changed and written: two processes tear it."""
    package.ask(dtype="float32")
    single = set(package.files("outer-*/*"))
    for file in single:  # as the other process saw it: not there yet
        file.rename(file.with_suffix(file.suffix + ".away"))
    package.ask(dtype="float64")
    assert not single & set(package.files("outer-*/*"))


def test_a_few_old_versions_are_kept(package):
    for number in range(7):
        old = package.cache / "kernels" / f"outer-{number:020x}"
        old.mkdir(parents=True)
        os.utime(old, (number, number))
    (package.cache / "kernels" / "outer-mine").mkdir()
    package.ask()
    left = {path.name for path in package.files("outer-*")}
    assert len(left) == 5 and "outer-mine" in left and f"outer-{6:020x}" in left


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's here")
def test_another_user_can_read_what_an_image_holds(package):
    before = os.umask(0o022)
    try:
        package.ask()
    finally:
        os.umask(before)
    assert all(path.stat().st_mode & 0o004 for path in package.cache.rglob("*"))
    assert package.cache.stat().st_mode & 0o005 == 0o005


def test_places_in_order(monkeypatch, tmp_path):
    monkeypatch.setenv("WEIGHTSPACE_CACHE", str(tmp_path / "named"))
    assert places.places("part")[1] == tmp_path / "named" / "part"
    assert places.places("part", str(tmp_path / "first"))[1] == tmp_path / "first" / "part"
    (tmp_path / "file").touch()
    monkeypatch.setenv("WEIGHTSPACE_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    read, write = places.places("part")
    assert write and len(read) == 2 and write == read[1] and write.is_relative_to(tmp_path / "home")


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="temporary folders are the user's own here")
def test_a_temporary_folder_that_others_can_write_is_not_trusted(monkeypatch, tmp_path):
    monkeypatch.setattr(places, "_temporary", lambda: tmp_path / "shared")
    assert places._usable(tmp_path / "shared")
    (tmp_path / "shared").chmod(0o777)
    assert not places._usable(tmp_path / "shared")


def test_a_backend_that_may_not_compile_says_so(monkeypatch):
    code = "from weightspace.kernels import get_backend; get_backend('cpu')"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "SettingError" in last and "NUMBA_DISABLE_JIT" in last and "reference" in last
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert "cpu" not in available()


@pytest.mark.parametrize(
    ("name", "value"), [("NUMBA_THREADING_LAYER", "none-such"), ("NUMBA_NUM_THREADS", "0")]
)
def test_threads_that_cannot_be_had_are_named_each_time(name, value):
    code = """
from weightspace.kernels import errors, get_backend
try:
    get_backend("cpu")
except errors.SettingError:
    get_backend("cpu")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, name: value},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = done.stderr.strip().splitlines()[-1]
    assert "SettingError" in last and f"{name} is '{value}'" in last


def test_the_stamp_sees_all_that_a_kernel_calls():
    from weightspace.kernels.cpu import cache, losses

    get_backend("cpu")
    seen = {path.name for path in cache.sources(Path(losses.__file__))}
    assert {"losses.py", "exponential.py", "tiles.py", "jit.py", "door.py"} <= seen


def test_a_compilation_that_was_stopped_is_begun_again(tmp_path):
    """Of what kernels call by name: LLVM ends a process whose kernel asks for a name it lacks."""
    program = """
import numpy as np
from weightspace.kernels.cpu import dense, gemm, linked

def stopped(signature):
    raise KeyboardInterrupt

product, = (each for each in linked._linked if each.kernel is gemm.product_unit)
compile, product.kernel.compile = product.kernel.compile, stopped
x, y = np.ones((2, 3), "float32"), np.zeros((2, 2), "float32")
for _ in range(2):
    try:
        dense.matmul_nt(x, x, y)
    except KeyboardInterrupt:
        print("stopped")
product.kernel.compile = compile
dense.matmul_nt(x, x, y)
print(y.sum())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout.split() == ["stopped", "stopped", "12.0"], done.stderr
