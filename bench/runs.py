"""Running an experiment: every method and seed into a folder of its own, then the comparison.

OUT/METHOD/seed-S/ holds config.toml, metrics.jsonl, accuracy.csv, summary.json,
checkpoint.safetensors and figures/. Everything but the clock in summary.json follows from the
config, so two runs of one seed write the same bytes, and so does one that was stopped and resumed.
"""

from __future__ import annotations

import csv
import io
import json
import math
import platform
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ..kernels.errors import CheckpointError, SettingError, StorageError
from ..methods import METHODS, Method, Result, Stream, fit
from ..methods.correlation import ImportanceProbe
from ..methods.fit import Augment
from ..nnlite import Network
from ..nnlite.files import write_whole
from ..nnlite.optim import Optimizer, get_optimizer
from . import data, streams
from .data.validation import HeldOut
from .experiments import Preset, Variant, as_config, config_hash, kutalev_importances
from .folders import claim
from .networks import describe, make_network
from .progress import Watcher, make_progress
from .streams.augment import augment as move_images
from .streams.normalise import black, check_normalise
from .streams.rotating import Turner, image_shape

LOSS_EVERY = 20  # steps between the losses that metrics.jsonl keeps


@dataclass
class Plan:
    """What `weightspace run` was asked for, resolved."""

    preset: Preset
    variants: list[Variant]
    backend: str
    seeds: list[int]
    out: Path
    data_dir: Path | None = None
    resume: bool = False
    overwrite: bool = False

    def folder(self, variant: Variant, seed: int) -> Path:
        """Where one run's files go."""
        return self.out / variant.label.replace(" ", "-") / f"seed-{seed}"


def make_stream(
    preset: Preset, seed: int, data_dir: Path | None, held_out: HeldOut | None = None
) -> Stream:
    """The stream of `preset` for a trial. Raises the data sets' and streams' named errors.

    `preset.data` may name several sets, as in "mnist+fashion-mnist"; the limits are for each.
    held_out: test on a part of the training images, and leave the test images alone.
    """
    datasets = [
        data.load(name.strip(), data_dir).limited(preset.train_limit, preset.test_limit)
        for name in preset.data.split("+")
    ]
    if held_out is not None:
        datasets = [held_out.of(dataset) for dataset in datasets]
    settings = dict(preset.stream_settings)
    if preset.stream == "permuted":
        settings.setdefault("seed", seed)
    return streams.build(preset.stream, datasets, preset.scenario, **settings)


def make_optimizer(preset: Preset) -> Optimizer:
    """The optimizer of `preset`. Raises SettingError for a momentum that it has no use for."""
    settings = {"lr": preset.lr}
    if preset.momentum is not None:
        settings["momentum"] = preset.momentum
    return get_optimizer(preset.optimizer, **settings)


def make_augment(preset: Preset, stream: Stream, net: Network) -> Augment | None:
    """Random crops and flips, or turning, if `preset` wants them.

    Raises SettingError for samples that cannot be moved, and where both are wanted.
    """
    if preset.turn is not None:
        return _make_turning(preset, stream, net)
    if not preset.augment:
        return None
    if len(stream.input_shape) != 3:
        raise SettingError("augment=true needs images: --set stream.flat=false")
    scaling = preset.stream_settings.get("normalise")
    channels = stream.input_shape[2]
    outside = black(check_normalise(preset.stream, scaling, channels), channels)
    room: dict[int, np.ndarray] = {}

    def augment(x: np.ndarray, key: tuple[int, int, int]) -> np.ndarray:
        out = room.setdefault(len(x), np.empty_like(x))
        return move_images(net.ops, x, outside, key, out=out)

    return augment


def _make_turning(preset: Preset, stream: Stream, net: Network) -> Augment:
    """Batches that turn by 360 degrees in `preset.turn` steps."""
    if preset.augment:
        raise SettingError("augment and turn are for different experiments; set one of them")
    if preset.turn is None or preset.turn < 1:
        raise SettingError(f"turn={preset.turn}: a full turn takes at least one step")
    shape = image_shape(stream.input_shape)
    scaling = check_normalise(preset.stream, preset.stream_settings.get("normalise"), shape[2])
    turner = Turner(shape, preset.turn, black(scaling, shape[2]))
    return lambda x, key: turner(net.device.get(x), key[2])


def run(plan: Plan, console: Console) -> list[dict[str, Any]]:
    """Run what is planned; returns the summaries, in order. Raises the errors of what it calls."""
    claim(plan.out, "run", _holds_runs, plan.resume, plan.overwrite)
    summaries = []
    described = False
    with make_progress(console) as progress:
        for seed in plan.seeds:
            stream = make_stream(plan.preset, seed, plan.data_dir)
            if not described:
                _introduce(plan, stream, console)
                described = True
            for variant in plan.variants:
                label = variant.label if len(plan.seeds) == 1 else f"{variant.label} seed {seed}"
                watcher = Watcher(console, progress, label)
                summaries.append(_run_one(plan, variant, seed, stream, watcher))
    return summaries


def _introduce(plan: Plan, stream: Stream, console: Console) -> None:
    net = make_network(plan.preset, stream, plan.backend, plan.seeds[0])
    head = "masked to the task" if stream.scenario == "task" else "shared by all tasks"
    console.print(f"[bold]{plan.preset.name}[/]  {stream.description}")
    console.print(
        f"network {describe(plan.preset, stream)}, {net.num_parameters:,} parameters, head "
        f"{head}; backend {plan.backend}; seeds {', '.join(map(str, plan.seeds))}",
        highlight=False,
    )


def _holds_runs(out: Path) -> bool:
    return (out / "summary.json").exists() or any(out.glob("*/seed-*"))


def _run_one(
    plan: Plan, variant: Variant, seed: int, stream: Stream, watcher: Watcher
) -> dict[str, Any]:
    config = as_config(plan.preset, variant, plan.backend, seed)
    identity = config_hash({**config, "stream_hash": stream.hash})
    folder = plan.folder(variant, seed)
    if plan.resume and (folder / "summary.json").exists():
        summary = read_summary(folder / "summary.json")
        if summary.get("config_hash") != identity:
            raise CheckpointError(
                f"{folder} was run with other settings; use the same ones, or another --out"
            )
        watcher.skipped()
        return summary
    checkpoint = folder / "checkpoint.safetensors"
    if not checkpoint.exists():  # one of other settings is refused by fit and keeps its own config
        write_whole(folder / "config.toml", to_toml(config))
    begun = time.perf_counter()
    result, net, method = learn(
        plan.preset,
        variant,
        stream,
        plan.backend,
        seed,
        observer=watcher,
        checkpoint=checkpoint,
        checkpoint_every=2000,
        resume=plan.resume,
        identity=identity,
    )
    trained = variant.build().wrap(net)  # what fit trained has contexts, if the method gives some
    summary = summarise(result, plan, variant, seed, stream, trained, identity)
    summary["seconds"] = round(time.perf_counter() - begun, 3)
    summary["learning_seconds"] = watcher.learning and round(watcher.learning, 3)
    write_run(folder, result, summary)
    if isinstance(method, ImportanceProbe):
        kutalev_importances.write_results(method, net, folder)
    return summary


def learn(
    preset: Preset, variant: Variant, stream: Stream, backend: str, seed: int, **more: Any
) -> tuple[Result, Network, Method]:
    """One trial of `preset` by one method; more: what else `fit` should be told.

    Returns the result with the network and the method that came to it. Raises `fit`'s errors.
    """
    method = variant.build()
    net = make_network(preset, stream, backend, seed)
    result = fit(
        net,
        stream,
        method,
        optimizer=make_optimizer(preset),
        steps=preset.steps,
        epochs=preset.epochs,
        batch_size=preset.batch_size,
        seed=seed,
        reset_optimizer=preset.reset_optimizer,
        eval_every=preset.eval_every,
        augment=make_augment(preset, stream, net),
        **more,
    )
    return result, net, method


def summarise(
    result: Result,
    plan: Plan,
    variant: Variant,
    seed: int,
    stream: Stream,
    net: Network,
    identity: str,
) -> dict[str, Any]:
    """What summary.json says, without the clock."""
    return {
        "experiment": plan.preset.name,
        "method": variant.label,
        "method_settings": result.method,
        "convention": result.convention,
        "asks_task": METHODS[variant.method].asks_task,
        "backend": plan.backend,
        "seed": seed,
        "scenario": stream.scenario,
        "stream": stream.description,
        "stream_hash": stream.hash,
        "config_hash": identity,
        "acc": result.acc,
        "bwt": result.bwt,
        "fwt": result.fwt,
        "forgetting": result.forgetting,
        "accuracy_matrix": result.R.tolist(),
        "baseline": result.baseline.tolist(),
        "tasks": list(result.task_names),
        "parameters": net.num_parameters,
        "persistent_state_bytes": list(result.persistent_bytes),
        "steps": len(result.losses),
        "versions": versions(),
    }


def write_run(folder: Path, result: Result, summary: dict[str, Any]) -> None:
    """metrics.jsonl, accuracy.csv, figures and, last, summary.json: its presence means finished."""
    write_whole(folder / "metrics.jsonl", metrics_lines(result))
    write_whole(folder / "accuracy.csv", accuracy_csv(result))
    from .figures import accuracy_curves, accuracy_matrix

    title = f"{summary['method']}, seed {summary['seed']}"
    accuracy_curves(result.history, result.task_names, title, folder / "figures/accuracy.png")
    accuracy_matrix(result.R, result.task_names, title, folder / "figures/matrix.png")
    write_whole(folder / "summary.json", json.dumps(plain(summary), indent=1) + "\n")


def metrics_lines(result: Result) -> str:
    """One JSON line an evaluation and every LOSS_EVERY-th loss, in the order of the steps."""
    events: list[tuple[int, int, dict[str, Any]]] = []
    for step in range(LOSS_EVERY, len(result.losses) + 1, LOSS_EVERY):
        events.append((step, 0, {"kind": "loss", "step": step, "loss": result.losses[step - 1]}))
    for e in result.history:
        line = {"kind": "accuracy", "step": e.step, "task": e.task, "tasks": e.accuracies.tolist()}
        events.append((e.step, 1, line))
    events.sort(key=lambda event: event[:2])
    return "".join(json.dumps(plain(line)) + "\n" for *_, line in events)


def accuracy_csv(result: Result) -> str:
    """R as a table: a row after each task, a column a task, and the untrained network first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["test accuracy after learning", *result.task_names])
    writer.writerow(["(nothing)", *map(_short, result.baseline)])
    for name, row in zip(result.task_names, result.R, strict=True):
        writer.writerow([name, *map(_short, row)])
    return text.getvalue()


def _short(value: float) -> str:
    return f"{value:.6g}"


def plain(value: Any) -> Any:
    """JSON has no NaN: an unmeasured number is null."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def to_toml(config: dict[str, Any]) -> str:
    """A config as TOML, which has no None: those are left out.

    JSON's scalars and arrays are TOML's; nested records become tables.
    """
    tables = {key: value for key, value in config.items() if isinstance(value, dict)}
    single = {k: v for k, v in config.items() if k not in tables and v is not None}
    lines = [f"{key} = {json.dumps(v)}" for key, v in single.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        lines += [f"{key} = {json.dumps(v)}" for key, v in table.items() if v is not None]
    return "\n".join(lines) + "\n"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute."""
    found = {"python": platform.python_version()}
    for name in ("weightspace", "numpy", "numba", "scipy-openblas32"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def read_summary(path: Path) -> dict[str, Any]:
    """A finished run's summary. Raises CheckpointError for a damaged file."""
    try:
        summary = json.loads(path.read_text())
    except ValueError:
        summary = None
    if not isinstance(summary, dict):
        raise CheckpointError(f"{path} is damaged; remove it, and --resume does that run anew")
    return summary


def load_summaries(folders: list[Path]) -> list[dict[str, Any]]:
    """The summaries of all finished runs in or under `folders`, each with its own folder.

    In the order of METHODS, then by label and seed. Raises StorageError when there is none,
    CheckpointError for a damaged one.
    """
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("summary.json")):
            summary = read_summary(path)
            if "accuracy_matrix" in summary:
                found.append({**summary, "folder": str(path.parent)})
    if not found:
        raise StorageError(f"no finished run in {', '.join(map(str, folders)) or 'no folder'}")
    order = list(METHODS)

    def place(summary: dict[str, Any]) -> tuple[int, float, str, int]:
        settings = summary["method_settings"]
        strength = float(settings.get("lam", 0))
        return order.index(settings["name"]), strength, summary["method"], summary["seed"]

    return sorted(found, key=place)
