"""What `fit` and Task take, and what they say of the rest, before anything is trained."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from blobs import make_blobs
from test_fit import small_net
from weightspace.kernels import errors
from weightspace.methods import (
    AGEM,
    DERPP,
    EWC,
    FIP,
    GEM,
    METHODS,
    SIG,
    WVA,
    Joint,
    LwF,
    Observer,
    Replay,
    Stream,
    Task,
    fit,
)
from weightspace.nnlite import BatchNorm2d, Linear, Network, load_arrays, models, optim

TRAIN, TEST = make_blobs(0), make_blobs(0, 60)
FEW: dict = {"steps": 3, "batch_size": 16}


class NoStep(Observer):
    def stepped(self, step, task, loss):
        raise AssertionError("a step was taken before the plan was refused")


def blobs(**more):
    return Task.from_arrays("blobs", TRAIN, TEST, **more)


def refused(match, error: type[Exception] = errors.SettingError, net=None, tasks=None, **settings):
    with pytest.raises(error, match=match):
        fit(
            net or small_net(), [blobs()] if tasks is None else tasks, observer=NoStep(),
            **{**FEW, **settings},
        )  # fmt: skip


# ---- what is unambiguous -------------------------------------------------------------------------


def same(*results):
    assert all(np.array_equal(results[0].losses, other.losses) for other in results[1:])
    assert all(np.array_equal(results[0].R, other.R) for other in results[1:])


def test_names_classes_and_a_single_task_are_taken(untyped):
    same(
        fit(small_net(), [blobs()], EWC(), optimizer=optim.SGD(), **FEW),
        fit(small_net(), blobs(), "ewc", optimizer="sgd", **FEW),
        fit(small_net(), (task for task in [blobs()]), EWC, optimizer=optim.SGD, **FEW),
        fit(small_net(), Stream("s", "domain", *untyped(([blobs()], [np.int64(12)], 4))), EWC(),
            optimizer=optim.SGD(), **FEW),
    )  # fmt: skip


def test_arrays_by_any_name_are_taken(untyped):
    class Frame:  # as a data frame and a tensor answer NumPy
        def __init__(self, array):
            self.array = array

        def __array__(self, dtype=None, copy=None):
            return self.array

    (x, y), (tx, ty) = TRAIN, TEST
    one = fit(small_net(), blobs(), **FEW)
    for change, labels in (
        (lambda a: a.tolist(), lambda a: a.tolist()),
        (Frame, Frame),
        (lambda a: a.astype("f8"), lambda a: a.astype(np.int32)),
        (lambda a: a, lambda a: a.astype(np.uint8)),
    ):
        train, test = untyped(((change(x), labels(y)), [change(tx), labels(ty)]))
        task = Task.from_arrays("t", train, test)
        lazy = Task("t", partial(tuple, train), untyped(partial(list, test)))
        same(one, fit(small_net(), task, **FEW), fit(small_net(), lazy, **FEW))


def test_torch_labels_are_taken():
    torch = pytest.importorskip("torch")
    a, b = ((torch.from_numpy(x), torch.from_numpy(y)) for x, y in (TRAIN, TEST))
    same(fit(small_net(), blobs(), **FEW), fit(small_net(), Task.from_arrays("t", a, b), **FEW))


@pytest.mark.parametrize(
    ("cls", "key"), [(EWC, "samples"), (GEM, "memories"), (Replay, "memories"), (FIP, "batch")]
)
def test_numpy_numbers_are_plain_ones_by_the_time_they_are_kept(tmp_path, cls, key, untyped):
    def trained(of):
        return fit(
            small_net(), [blobs(), blobs()], cls(**{key: of(20)}), steps=of(4), batch_size=of(16),
            seed=of(2**40 + 3), eval_every=of(2), checkpoint_every=of(2),
            checkpoint=tmp_path / of.__name__,
        )  # fmt: skip

    same(trained(int), trained(np.int64))
    assert (tmp_path / "int").read_bytes() == (tmp_path / "int64").read_bytes()
    kinds = untyped((int, np.int32))
    same(*(fit(small_net(), blobs(), epochs=of(1), batch_size=of(16)) for of in kinds))


# ---- what is not ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"steps": 3.0}, r"steps is 3\.0 .float"),
        ({"steps": True}, "steps is True .bool"),
        ({"batch_size": "16"}, "batch_size is '16' .str"),
        ({"seed": 0.5}, "seed is"),
        ({"eval_every": -1}, "eval_every is -1; it must be at least 0"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0; it must be at least 1"),
        ({"reset_optimizer": "no"}, "reset_optimizer is 'no'"),
        ({"method": 3}, "the method is 3 .int.; give a Method, or a name"),
        ({"optimizer": 0.1}, "the optimizer is 0.1"),
        ({"resume": True}, "needs the checkpoint"),
        ({"tasks": []}, "no tasks"),
        ({"tasks": [(TRAIN, TEST)]}, "number 0 is of type tuple, not a Task"),
        ({"tasks": 7}, "number 0 is of type int"),
        ({"augment": 3}, "augment is 3; give a function"),
        ({"checkpoint": "/"}, "checkpoint / is a folder"),
        ({"net": "mlp"}, "fit trains a Network; it got 'mlp'"),
    ],
)  # fmt: skip
def test_settings_are_refused_before_the_first_step(settings, match):
    refused(match, **settings)


def test_an_observer_that_is_none_is_named(untyped):
    for observer in untyped((Observer, print)):
        with pytest.raises(errors.SettingError, match="give an object of a class of Observer's"):
            fit(small_net(), blobs(), observer=observer, **FEW)


def test_a_name_that_is_none_is_told_the_nearest():
    refused("Did you mean 'ewc'", errors.UnknownNameError, method="ewcc")
    refused("Did you mean 'adam'", errors.UnknownNameError, optimizer="adm")


@pytest.mark.parametrize(
    ("train", "error", "match"),
    [
        ((TRAIN[0], TRAIN[1][:5]), errors.ShapeError, r"labels of shape \(5,\)"),
        (TRAIN[0], errors.ShapeError, "give .x, y."),
        ((3, 4), errors.ShapeError, "inputs of shape"),
        (([[1, 2], [3]], [0, 1]), errors.DtypeError, "makes no array"),
        ((TRAIN[0].astype(str), TRAIN[1]), errors.DtypeError, "inputs are <U"),
        ((TRAIN[0] * 1j, TRAIN[1]), errors.DtypeError, "complex"),
        ((TRAIN[0], TRAIN[1].astype(object)), errors.DtypeError, "labels are object"),
        ((np.ma.masked_less(TRAIN[0], 0), TRAIN[1]), errors.DtypeError, "mask would be lost"),
    ],
)  # fmt: skip
def test_arrays_that_make_no_task_are_named(train, error, match):
    with pytest.raises(error, match=match):
        Task.from_arrays("t", train, TEST)


def test_labels_that_are_no_whole_numbers_are_named():
    tasks = [Task.from_arrays("t", (TRAIN[0], TRAIN[1].astype("f")), TEST)]
    refused("task 't', training: .*whole numbers as int64", errors.DtypeError, tasks=tasks)


def test_a_task_that_is_none_is_named(untyped):
    with pytest.raises(errors.SettingError, match="load_train is no function, but a tuple"):
        Task("t", *untyped((TRAIN, TEST)))
    with pytest.raises(errors.SettingError, match="give a bool for each class"):
        blobs(active=[0, 1])
    tasks = [blobs(active=[True, True, True])]
    refused("array of 4 bools", errors.ShapeError, tasks=tasks)


def test_all_data_are_looked_at_before_the_first_step():
    wide = TRAIN[0].astype("f8")
    wide[7] = 1e60
    for x, match in ((TRAIN[0] * np.nan, "NaN"), (wide, "float32 cannot hold .first: row 7")):
        tasks = [blobs(), Task.from_arrays("second", (x, TRAIN[1]), TEST)]
        refused(match, errors.NonFiniteError, tasks=tasks)
    short = Task("short", lambda: TRAIN, lambda: TEST, train_size=40)
    refused("declares 40 training samples, but hands out 120", errors.ShapeError, tasks=[short])


def test_epochs_of_a_task_that_does_not_say_its_size():
    lazy = Task("lazy", lambda: TRAIN, lambda: TEST)
    same(
        fit(small_net(), blobs(), epochs=2, batch_size=50),
        fit(small_net(), lazy, epochs=2, batch_size=50),
    )


# ---- batches that the network cannot take --------------------------------------------------------


def normed(statistics="running"):
    layers = [Linear(8), BatchNorm2d(statistics=statistics, activation="relu"), Linear(4)]
    return Network(layers, (12,), backend="reference")


def of(*sizes):
    return [Task.from_arrays(f"of {n}", (TRAIN[0][:n], TRAIN[1][:n]), TEST) for n in sizes]


def test_a_last_batch_of_one_is_refused_wherever_it_comes():
    many: dict = {"steps": 9, "batch_size": 16}
    refused(
        "'of 33': 33 samples in batches of 16 leave one", net=normed(), tasks=of(32, 33), **many
    )
    refused("65 samples", net=normed(), tasks=of(32, 33), method="joint", **many)
    refused("batches of 1 leave", net=normed(), tasks=of(32), steps=1, batch_size=1)
    fit(normed(), of(32, 33), steps=2, batch_size=16)  # which never get to the last batch
    fit(small_net(), of(33), epochs=1, batch_size=16)  # no statistics, no variance


@pytest.mark.parametrize(
    "method",
    [
        Replay(memories=1), DERPP(memories=1), GEM(memories=1, mode="train"),
        AGEM(batch=1, mode="train"), FIP(batch=1, mode="train"),
    ],
    ids=lambda method: method.name,
)  # fmt: skip
def test_a_replay_of_one_is_refused_before_the_first_task(method):
    refused(f"'of 32': with these settings {method.name} passes a single",
            net=normed(), tasks=of(32, 32), method=method)  # fmt: skip
    fit(normed(), of(32), method, **FEW)  # a first task replays nothing


def test_methods_that_ask_each_sample_refuse_batch_statistics_at_once():
    for method in (EWC(), SIG(), WVA()):
        refused("statistics='running'", errors.ModeError, net=normed("batch"), method=method)


def test_every_method_still_takes_a_network_with_statistics():
    for method in METHODS.values():
        if method.name != "importance-probe":
            fit(normed(), of(32, 48), method, steps=2, batch_size=16)
    assert LwF in METHODS.values() and Joint in METHODS.values()


# ---- divergence ----------------------------------------------------------------------------------


def at_rate(path, rate, steps, **more):
    with np.errstate(all="ignore"):  # NumPy says so too, on the way to infinity
        return fit(
            small_net(), [blobs(), blobs()], optimizer=optim.SGD(rate), steps=steps, batch_size=16,
            checkpoint=path, **more,
        )  # fmt: skip


def test_a_last_step_that_ruins_the_network_is_no_result(tmp_path):
    with pytest.raises(errors.DivergedError, match=r"outputs after step 1 \(task 'blobs'"):
        at_rate(tmp_path / "c", 1e30, steps=1)
    assert not (tmp_path / "c").exists()


def test_the_last_good_checkpoint_is_good(tmp_path):
    with pytest.raises(errors.DivergedError, match="last good checkpoint"):
        at_rate(tmp_path / "c", 1e18, steps=50, checkpoint_every=1)
    arrays, about = load_arrays(tmp_path / "c")
    net = small_net()
    for name, view in net.layout.views(net.theta).items():
        view[...] = arrays[f"theta.{name}"]
    assert np.isfinite(net.forward(TEST[0])).all() and about["step"] >= 1


def test_an_importance_that_is_not_finite_is_named(tmp_path):
    class Ruined(EWC):
        def importance(self, net, x, y, end):
            return np.full_like(net.theta, np.inf)

    with pytest.raises(errors.DivergedError, match=r"infinity in ewc's omega after step 3 "):
        fit(small_net(), [blobs(), blobs()], Ruined(), **FEW, checkpoint=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_weights_that_came_ruined_are_told_apart():
    net = small_net()
    net.theta[:] = np.nan
    refused("or was given such weights", errors.NonFiniteError, net=net)


# ---- identity ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"method": EWC(lam=3.0)}, r"method\.lam: 1\.0 then, 3\.0 now"),
        ({"method": "si"}, r"method\.name: ewc then, si now"),
        ({"optimizer": optim.Adam(1e-2)}, r"optimizer\.lr: 0\.001 then, 0\.01 now"),
        ({"optimizer": "sgd"}, r"optimizer\.name: adam then, sgd now"),
        ({"steps": 5}, "steps: 3 in each of 2 then, 5 in each of 2 now"),
        ({"batch_size": 17}, "batch_size: 16 then, 17 now"),
        ({"seed": 1}, "seed: 0 then, 1 now"),
        ({"reset_optimizer": True}, "reset_optimizer: False then, True now"),
        ({"eval_every": 2}, "eval_every: 0 then, 2 now"),
        ({"augment": lambda x, key: x}, "augment: False then, True now"),
        ({"identity": "other"}, "identity"),
        ({"tasks": [blobs(), Task.from_arrays("blobs", make_blobs(9), TEST)]}, "data.task 1: "),
        ({"tasks": [blobs(), blobs(active=np.ones(4, bool))]}, r"data\.task 1: \w+\.\.\. then"),
        ({"net": models.mlp((12, 10, 4), backend="reference", seed=2)}, r"network\.seed: 1 then"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_checkpoint_of_other_settings_is_refused_by_what_differs(tmp_path, change, match):
    run = {"net": small_net(), "tasks": [blobs(), blobs()], "method": EWC(), **FEW}
    fit(**run, checkpoint=tmp_path / "c")
    with pytest.raises(errors.CheckpointError, match=match):
        fit(**{**run, **change}, checkpoint=tmp_path / "c", resume=True)
    names = [Task.from_arrays("another name", TRAIN, TEST), blobs()]
    fit(**{**run, "net": small_net(), "tasks": names}, checkpoint=tmp_path / "c", resume=True)


def earlier(path, identity):
    """Turns a checkpoint into one of the version that noted identity, seed and plan alone."""
    from weightspace.nnlite.checkpoint import save_arrays

    arrays, about = load_arrays(path)
    run = about.pop("run")
    del about["network"]
    save_arrays(path, arrays, {**about, "identity": identity, "seed": 0, "plan": run["steps"]})


def test_checkpoints_of_earlier_versions(tmp_path):
    path, run = tmp_path / "c", {"tasks": [blobs()], "method": EWC(), **FEW}
    fit(small_net(), **run, checkpoint=path, identity="config 7")
    earlier(path, "config 7")
    fit(small_net(), **run, checkpoint=path, identity="config 7", resume=True)
    earlier_one = path.read_bytes()
    with pytest.raises(errors.CheckpointError, match="identity: config 7 then, config 8 now"):
        fit(small_net(), **run, checkpoint=path, identity="config 8", resume=True)
    with pytest.raises(errors.CheckpointError, match="earlier version"):
        fit(small_net(), **run, checkpoint=path, resume=True)
    assert path.read_bytes() == earlier_one


def test_members_of_an_ensemble_are_never_ruined_ones():
    from weightspace.methods import Cycle, train_adp, train_fge

    large = (TRAIN[0] * 1e4, TRAIN[1])
    with np.errstate(all="ignore"):
        with pytest.raises(errors.DivergedError, match="FGE's step 1 led to"):
            train_fge(small_net(), large, 1, Cycle(2, 3e38, 3e38))
        with pytest.raises(errors.DivergedError, match="ADP's step 1 led to"):
            train_adp([small_net(), models.mlp((12, 10, 4), backend="reference", seed=2)],
                      large, 1, optimizer=optim.SGD(3e38))  # fmt: skip


def forged(path, changed=None, dropped=(), **about):
    """A checkpoint with a right checksum that no run has written."""
    from weightspace.nnlite.checkpoint import save_arrays

    arrays, said = load_arrays(path)
    kept = {name: array for name, array in arrays.items() if name not in dropped}
    save_arrays(path, kept | (changed or {}), {**said, **about})


@pytest.mark.parametrize(
    "forgery",
    [
        {"task": "1"}, {"task": 9}, {"step": -1}, {"count": None}, {"persistent": [0.5]},
        {"persistent": 3}, {"dropped": ["progress.rows"]}, {"dropped": ["optimizer.m"]},
        {"changed": {"progress.losses": np.zeros(7)}},
        {"changed": {"progress.history": np.zeros((1, 5))}},
        {"changed": {"optimizer.m": np.zeros(3, "f")}}, {"kind": "network"}, {"run": 3},
    ],
    ids=str,
)  # fmt: skip
def test_a_checkpoint_that_no_run_wrote_is_refused_in_a_line(tmp_path, forgery):
    path, run = tmp_path / "c", {"tasks": [blobs()], **FEW}
    fit(small_net(), **run, checkpoint=path)
    forged(path, **forgery)
    net = small_net()
    before = net.theta.copy()
    with pytest.raises(errors.CheckpointError, match=str(path)):
        fit(net, **run, checkpoint=path, resume=True)
    assert np.array_equal(net.theta, before)
