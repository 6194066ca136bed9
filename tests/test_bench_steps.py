"""The workbench for whole operations: statistics, records, the machine, and the peers' protocol."""

from __future__ import annotations

import importlib
import io
import textwrap
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from weightspace.bench.speed import records, steps
from weightspace.bench.speed.peers import (
    BASELINE,
    REGISTRY,
    PeerSpec,
    problem,
    select,
    sizes,
    truth,
)
from weightspace.bench.speed.peers import kinds as networks
from weightspace.bench.speed.peers import selection as choice
from weightspace.bench.speed.peers.client import Client
from weightspace.bench.speed.record_kinds import KINDS
from weightspace.kernels.errors import SettingError, UnknownNameError

TINY = problem.Problem("forward-1", networks.Mlp((5, 7, 4, 3)), 6)
TINY_CONV = problem.Problem("conv-forward", networks.Convolution(9, 8, 5), 3)
BRIEF = steps.Schedule(rounds=3, sample_seconds=1e-4, pause=0.0)


# ---- problems -----------------------------------------------------------------------------------


def test_names_and_groups():
    assert problem.expand_operations(["train-step", "jvp"]) == [
        "train-step-adam", "train-step-sgd", "jvp",
    ]  # fmt: skip
    assert set(problem.expand_operations(None)) == set(problem.OPERATIONS)
    assert [one.size for one in choice.problems(["forward"], ["9-8-7x3"])] == [
        "9-8-7x1", "9-8-7x32", "9-8-7x256",
    ]  # fmt: skip
    assert [spec.name for spec in select(["jax"])] == [BASELINE, "jax"]
    assert {"torch-eager", "torch-func", "backpack"} < {spec.name for spec in select(["torch"])}
    with pytest.raises(UnknownNameError, match="Did you mean 'fisher-empirical'"):
        problem.expand_operations(["fisher-empiric"])
    with pytest.raises(UnknownNameError, match="Did you mean 'torch"):
        select(["torhc"])


def test_sizes():
    parse, mlp = sizes.parse_size, networks.Mlp
    assert parse("784-300-100-10") == (mlp((784, 300, 100, 10)), 64)
    assert parse("784-256-256-10") == (mlp((784, 256, 256, 10)), 128)
    assert parse("5-4x3") == (mlp((5, 4)), 3)
    assert parse("tanh-4-32-16-4") == (networks.Regression((4, 32, 16, 4)), 10_000)
    assert parse("tanh-4-3x7")[0].size(7) == "tanh-4-3x7"
    assert parse("conv3-16@32x7") == (networks.Convolution(3, 16, 32), 7)
    assert parse("conv64-64@32") == (networks.Convolution(64, 64, 32), 32)
    assert parse("resnet20x5") == (networks.ConvNet("resnet20"), 5)
    assert parse("fip-cnn") == (networks.ConvNet("fip-cnn"), 128)
    for size in sizes.SIZES:
        network, batch = parse(size)
        assert problem.Problem("", network, batch).size == size
    for bad in ("5", "5-0", "5-4x0", "5-4xtwo", "", "conv3-16x7", "conv3-0@8x7", "resnet20x0"):
        with pytest.raises(SettingError, match="widths and a batch"):
            parse(bad)
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet20'"):
        parse("resnet21x128")


def test_every_size_meets_the_operations_it_has():
    made = choice.problems(None, None)
    assert {one.operation for one in made} == set(problem.OPERATIONS) - set(
        problem.GROUPS["product"]
    )  # which are asked for by name
    assert {one.network.name for one in made} >= {"conv256-256@8", "resnet20", "fip-cnn"}
    assert all(one.operation in one.network.operations for one in made)
    quick = choice.problems(None, None, quick=True)
    convolving = [one for one in quick if not isinstance(one.network, networks.Mlp)]
    assert [(one.operation, one.size) for one in convolving] == [
        ("conv-forward", "conv32-32@16x64")
    ]
    assert [one.size for one in choice.problems(["mas"], None, quick=True)] == [sizes.SIZES[0]]
    with pytest.raises(SettingError, match="resnet20x8 has none of the operations mas; it has"):
        choice.problems(["mas"], ["resnet20x8"])


# ---- planted peers ------------------------------------------------------------------------------

_PLANTED = """
    import os, sys
    import numpy as np
    from weightspace.bench.speed.peers import truth
    from weightspace.bench.speed.peers.problem import NotRunError, Operation

    def settings():
        return {}

    def build(problem):
        print("a library's chatter on stdout")
        answer = truth.answer(problem)
        return Operation(lambda: None, lambda: answer)

    OPERATIONS = {"forward-1": {"numpy": build}}
    CONVOLUTIONS = {"conv-forward": {"numpy": build}}
    NETWORKS = "it has never seen an image"
"""
_CHANGES = {
    "right": "",
    "wrong": """
    def build_wrong(problem):
        answer = {name: 1.01 * value for name, value in truth.answer(problem).items()}
        def timed():
            open(os.environ["PLANTED_MARK"], "a").close()
        return Operation(timed, lambda: answer)
    OPERATIONS = {"forward-1": {"numpy": build_wrong}}
    CONVOLUTIONS = {"conv-forward": {"numpy": build_wrong}}
""",
    "absent": "    import a_package_that_nobody_has\n",
    "dying": """
    def build_dying(problem):
        answer = truth.answer(problem)
        def die():
            print("last words", file=sys.stderr, flush=True)
            os._exit(3)
        return Operation(die, lambda: answer)
    OPERATIONS = {"forward-1": {"numpy": build_dying}}
""",
    "large": """
    def build_large(problem):
        raise NotRunError("would hold 9.9 GiB")
    OPERATIONS = {"forward-1": {"numpy": build_large}}
""",
    "elsewhere": "    OPERATIONS = {}\n",
    "choosing": """
    def slow(problem):
        built = build(problem)
        return Operation(lambda: sum(range(200_000)), built.result)
    OPERATIONS = {"forward-1": {"slow": slow, "quick": build}}
""",
}


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Peers made for the test, by name; the right one stands in for weightspace."""
    for name, change in _CHANGES.items():
        source = textwrap.dedent(_PLANTED) + textwrap.dedent(change)
        (tmp_path / f"planted_{name}.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PLANTED_MARK", str(tmp_path / "timed"))
    specs = {name: PeerSpec(name, f"planted_{name}") for name in _CHANGES}
    return specs | {BASELINE: PeerSpec(BASELINE, "planted_right")}


def test_peers_are_checked_before_they_are_timed(planted, tmp_path):
    found = {row.peer: row for row in steps.run_problem(TINY, list(planted.values()), BRIEF)}
    assert {name: row.status for name, row in found.items()} == {
        BASELINE: "timed", "right": "timed", "choosing": "timed", "wrong": "wrong",
        "absent": "absent", "dying": "failed", "large": "skipped", "elsewhere": "not offered",
    }  # fmt: skip
    assert not (tmp_path / "timed").exists(), "the wrong peer's call was run"
    assert found["wrong"].error == pytest.approx(0.01)
    assert "a_package_that_nobody_has" in found["absent"].reason
    assert "last words" in found["dying"].reason
    assert "9.9 GiB" in found["large"].reason
    assert found["choosing"].variant == "quick"
    for name, row in found.items():
        assert (row.ratio is not None) == (name in {"right", "choosing"}), name
        assert bool(row.samples) == (row.status == "timed"), name
    assert (found["right"].peak_bytes or 0) > (found["right"].start_bytes or 0) > 0
    for row in found.values():
        assert (row.p50 is not None) == (row.p99 is not None) == (row.status == "timed")
        assert row.p50 is None or 0 < row.p50 <= (row.p99 or 0)
    assert steps.exit_status(found.values()) == 1
    assert steps.exit_status([found["right"], found["absent"], found["large"]]) == 0


def test_a_wrong_convolution_is_caught_and_not_timed(planted, tmp_path):
    chosen = [planted[name] for name in (BASELINE, "wrong", "right")]
    found = {row.peer: row for row in steps.run_problem(TINY_CONV, chosen, BRIEF)}
    assert {name: row.status for name, row in found.items()} == {
        BASELINE: "timed", "wrong": "wrong", "right": "timed",
    }  # fmt: skip
    assert found["wrong"].error == pytest.approx(0.01)
    assert found["right"].error == pytest.approx(0, abs=1e-12)
    assert found["right"].size == "conv9-8@5x3"
    assert found["right"].p50 is None  # nobody waits for one convolution
    assert not (tmp_path / "timed").exists()


def test_a_peer_may_say_why_it_has_no_operations(planted):
    made = problem.Problem("forward-1", networks.ConvNet("fip-cnn"), 1)
    (row,) = steps.run_problem(made, [planted["right"]], BRIEF)
    assert (row.status, row.reason) == ("not offered", "it has never seen an image")


def test_run_prints_a_table_and_writes_records(planted, tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "QUICK", BRIEF)
    text = io.StringIO()
    chosen = [planted[name] for name in (BASELINE, "wrong", "absent")]
    rows = steps.run(["forward-1"], ["5-7-4-3"], chosen, quick=True, console=Console(file=text))
    assert [row.peer for row in rows] == [BASELINE, "wrong", "absent"]
    for word in ("forward-1", "5-7-4-3x1", "wrong", "absent", "p50 us", "p99 us"):
        assert word in text.getvalue()
    found = records.read(records.write(tmp_path / "steps.jsonl", steps.as_records(rows)), KINDS)
    assert [one["status"] for one in found] == ["timed", "wrong", "absent"]
    assert found[0]["machine"]["cores"] >= 1
    assert len(found[0]["samples"]) == BRIEF.rounds


def test_without_weightspace_there_is_no_ratio(planted):
    broken = replace(planted[BASELINE], module="planted_wrong")
    found = steps.run_problem(TINY, [broken, planted["right"]], BRIEF)
    assert [row.status for row in found] == ["wrong", "timed"]
    assert found[1].ratio is None


# ---- the real peers -----------------------------------------------------------------------------


_SAME_FORWARD = {"forward-1", "forward-32"}


@pytest.mark.parametrize("group", [[BASELINE], ["jax"], ["torch-eager", "torch-func", "backpack"]])
def test_the_real_peers_agree_with_the_truth(group, tmp_path):
    """Every operation of every peer that is installed, on a tiny network (compiling excepted)."""
    with ExitStack() as stack:
        none = tmp_path / "none.npz"
        clients = [stack.enter_context(Client(REGISTRY[name], TINY, none)) for name in group]
        greetings = [client.hello() for client in clients]
        for greeting in greetings:
            if greeting["status"] == "absent":
                pytest.skip(greeting["reason"])
            assert greeting["status"] == "ok", greeting
        # The three forwards differ only in the batch, which is the tiny problem's own here.
        operations = [one for one in networks.Mlp.operations if one not in _SAME_FORWARD]
        answered = set()
        for number, operation in enumerate(operations):
            made = replace(TINY, operation=operation).draw()
            expected = truth.answer(made)
            arrays = tmp_path / f"{operation}.npz"
            np.savez(arrays, allow_pickle=False, **dict(made.arrays))
            for client in clients:
                client.problem, client.arrays = made, arrays
                # JAX's two layouts in turn: compiling each for every operation takes long.
                layout = ("weights (in, out)", "weights (out, in)")[number % 2]
                reply, got = client.prepare(layout if client.spec.name == "jax" else None)
                if reply["status"] == "not offered":
                    continue
                assert reply["status"] == "ready", (client.spec.name, operation, reply)
                error = truth.error_of(made, got, expected)
                assert error < truth.tolerance(made), (client.spec.name, operation)
                answered.add(operation)
        assert answered == set(operations)


_CONVOLVING = (BASELINE, "torch-eager", "torch-func", "backpack", "jax")


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # BackPACK's way, and harmless
@pytest.mark.parametrize(
    ("peer", "size"),
    [(peer, "conv9-8@6x3") for peer in _CONVOLVING]
    + [(p, "fip-cnnx3") for p in _CONVOLVING[:-1]]
    + [(peer, "tanh-5-7-4-3x6") for peer in (BASELINE, "torch-eager", "jax")],
)
def test_the_real_peers_do_as_the_truth_does(peer, size):
    """Every variant of every operation on images, or on squared error, in this process."""
    package = {"jax": "jax", "backpack": "backpack", BASELINE: "numba"}.get(peer, "torch")
    pytest.importorskip(package, reason=f"{package} is not installed")
    module = importlib.import_module(REGISTRY[peer].module)
    network, batch = sizes.parse_size(size)
    table = getattr(module, network.table)
    assert set(table) <= set(network.operations)
    for operation in set(table) - _SAME_FORWARD:
        made = problem.Problem(operation, network, batch).draw()
        expected = truth.answer(made)
        for label, build in table[operation].items():
            built = build(made)
            for _ in range(2):  # the second answer must not depend on the first
                error = truth.error_of(made, built.result(), expected)
                assert error < truth.tolerance(made), (operation, label)
