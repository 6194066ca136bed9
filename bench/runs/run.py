"""Running an experiment: every method and seed into a folder of its own, then the comparison.

OUT/METHOD/seed-S/ holds config.toml, metrics.jsonl, accuracy.csv, summary.json (or failed.json),
checkpoint.safetensors and figures/. Everything but the clock in summary.json follows from the
config, so two runs of one seed write the same bytes, and so does one that was stopped and resumed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ...kernels.errors import (
    CheckpointError,
    DataFileError,
    DataNotFoundError,
    DeviceError,
    DivergedError,
    MissingExtraError,
    SettingError,
    StorageError,
    WeightspaceError,
    WorkerError,
)
from ...methods import Method, Result, Stream
from ...nnlite.files import write_whole
from ..show.labels import Flat, differences, flat
from ..show.plain import as_read, config_hash, plain, to_toml, versions
from ..show.progress import Watcher, make_progress
from ..show.source import images_of, options, sourced
from ..store.folders import check, claimed, other_settings
from .files import CHECKPOINT, CONFIG, FAILED, RUNS, Run, read_config, read_run, run_folders
from .make import (
    count_operations,
    describe,
    learn,
    make_augment,
    make_network,
    make_optimizer,
    make_stream,
)
from .preset import Preset, Variant, as_config, distinct
from .record import write_run

# errors that say something about the place and nothing about the settings: they end everything
OF_THE_PLACE = (
    DataFileError, DataNotFoundError, DeviceError, MissingExtraError, StorageError, WorkerError,
)  # fmt: skip


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
    retry: bool = False  # with resume: train again what came to nothing
    asked: Sequence[str] = ()  # the assignments that are in the preset

    def folder(self, variant: Variant, seed: int) -> Path:
        """Where one run's files go."""
        return self.out / variant.label.replace(" ", "-") / f"seed-{seed}"

    def command(self, variant: Variant, seed: int) -> str:
        """What makes this run alone: its figures are the same, whatever is run beside it."""
        told = options(self.asked, [variant.method], self.backend, [seed])
        return " ".join(["weightspace run", self.preset.name, *told])


def run(plan: Plan, console: Console) -> list[Run]:
    """Run what is planned; returns what came of it, in order. Raises the errors of what it calls.

    What can be refused is refused before OUT is touched. A run that diverges, or that a named error
    ends after it has begun, is a result like any other: it is recorded, and the rest goes on.
    """
    plan = _without_repeats(plan, console)
    check(plan.out, RUNS, plan.resume, plan.overwrite)
    stream = make_stream(plan.preset, plan.seeds[0], plan.data_dir)
    _rehearse(plan, stream)
    ended: list[Run] = []
    with claimed(plan.out, RUNS, plan.resume, plan.overwrite), make_progress(console) as progress:
        _check_resumed(plan)
        _introduce(plan, stream, console)
        for seed in plan.seeds:
            if seed != plan.seeds[0]:
                stream = make_stream(plan.preset, seed, plan.data_dir)
            for variant in plan.variants:
                label = variant.label if len(plan.seeds) == 1 else f"{variant.label} seed {seed}"
                watcher = Watcher(console, progress, label)
                ended.append(_run_one(plan, variant, seed, stream, watcher, bool(ended)))
    return ended


def _without_repeats(plan: Plan, console: Console) -> Plan:
    """The plan with each setting and seed once, and no two of them in one folder."""
    variants, twice = distinct(plan.variants)
    if twice:
        told = ", ".join(twice)
        console.print(f"asked for twice, done once: {told}", highlight=False, soft_wrap=True)
    places: dict[Path, str] = {}
    for variant in variants:
        place = plan.folder(variant, 0)
        if place in places:
            raise SettingError(
                f"'{places[place]}' and '{variant.label}' would both be kept in {place.parent}; "
                "run them with different --out"
            )
        places[place] = variant.label
    return replace(plan, variants=variants, seeds=list(dict.fromkeys(plan.seeds)))


def _rehearse(plan: Plan, stream: Stream) -> None:
    """Make everything that the runs need, up to their first step. Raises what is wrong with it."""
    for variant in plan.variants:
        method = variant.build()
        net = make_network(plan.preset, stream, plan.backend, plan.seeds[0])
        make_augment(plan.preset, stream, net)
        method.start(method.wrap(net), make_optimizer(plan.preset))


def _planned(plan: Plan) -> dict[Path, dict[str, Any]]:
    """The config of every run by its folder, as its config.toml says it."""
    return {
        plan.folder(variant, seed): as_read(as_config(plan.preset, variant, plan.backend, seed))
        for seed in plan.seeds
        for variant in plan.variants
    }


def _check_resumed(plan: Plan) -> None:
    """Hold what is in OUT against what is asked for now, before anything is trained.

    Raises CheckpointError, naming what differs: settings; methods, strengths or seeds that are
    there and not asked for; or the data behind the same settings.
    """
    planned = _planned(plan)
    now = flat(next(iter(planned.values())))
    spare = []
    for folder in run_folders(plan.out):
        then = flat(read_config(folder))
        if folder in planned:
            if differ := differences(then, flat(planned[folder])):
                raise other_settings(folder, differ)
        elif differ := differences(_shared(then), _shared(now)):
            raise other_settings(folder, differ)
        else:
            spare.append(str(folder.relative_to(plan.out)))
    if spare:
        raise CheckpointError(
            f"{plan.out} holds runs that are not asked for now: {', '.join(spare)}. Ask for them "
            "too (the same -m, --set, --seed and --trials, or more of them), or use another --out"
        )
    for seed in plan.seeds:
        ended = [one for variant in plan.variants if (one := read_run(plan.folder(variant, seed)))]
        seen = make_stream(plan.preset, seed, plan.data_dir).hash if ended else ""
        for one in ended:
            if one.summary["stream_hash"] != seen:
                raise other_settings(
                    one.folder,
                    [f"data: {one.summary['stream_hash'][:12]} then, {seen[:12]} now, by its hash"],
                )


def _shared(settings: Flat) -> Flat:
    """Of flat settings those that all runs of one OUT share: all but the method's and the seed."""
    own = ("method", "seed", settings["method"])
    return {key: value for key, value in settings.items() if key.partition(".")[0] not in own}


def _introduce(plan: Plan, stream: Stream, console: Console) -> None:
    net = make_network(plan.preset, stream, plan.backend, plan.seeds[0])
    head = "masked to the task" if stream.scenario == "task" else "shared by all tasks"
    console.print(f"[bold]{plan.preset.name}[/]  {stream.description}")
    console.print(
        f"network {describe(plan.preset, stream)}, {net.num_parameters:,} parameters, head "
        f"{head}; backend {plan.backend}; seeds {', '.join(map(str, plan.seeds))}",
        highlight=False,
    )


def _run_one(
    plan: Plan, variant: Variant, seed: int, stream: Stream, watcher: Watcher, others: bool
) -> Run:
    """One run, trained or read. others: some have ended already, and an error is recorded."""
    config = as_config(plan.preset, variant, plan.backend, seed)
    identity = config_hash({**config, "stream_hash": stream.hash})
    folder = plan.folder(variant, seed)
    if plan.resume and (ended := read_run(folder)) and not (ended.failed and plan.retry):
        watcher.skipped(ended.summary.get("error"))
        return ended
    checkpoint = folder / CHECKPOINT
    if (folder / FAILED).exists():  # tried again from the beginning
        checkpoint.unlink(missing_ok=True)
        (folder / FAILED).unlink()
    write_whole(folder / CONFIG, to_toml(config))
    begun = time.perf_counter()
    try:
        result, method = learn(
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
    except OF_THE_PLACE:
        raise
    except WeightspaceError as wrong:
        if isinstance(wrong, CheckpointError) or not (others or watcher.begun is not None):
            raise
        failure = failed(wrong) | _about(plan, variant, seed, stream, identity)
        write_whole(folder / FAILED, json.dumps(failure, indent=1) + "\n")
        watcher.failed(failure["error"])
        return Run(as_read(config), failure, folder)
    summary = summarise(result, method, plan, variant, seed, stream, identity)
    summary["seconds"] = round(time.perf_counter() - begun, 3)
    summary["learning_seconds"] = watcher.learning and round(watcher.learning, 3)
    with sourced([images_of(stream.description)], [seed], plan.command(variant, seed)):
        for hook in plan.preset.hooks:
            hook.after_run(method, result.network, folder)
        write_run(folder, result, summary)  # the summary last: what has one is done
    return Run(as_read(config), plain(summary), folder)


def failed(wrong: WeightspaceError) -> dict[str, Any]:
    """What is recorded of a run that a named error ended."""
    status = "diverged" if isinstance(wrong, DivergedError) else "failed"
    return {"status": status, "error": f"{type(wrong).__name__}: {wrong}"}


def summarise(
    result: Result, method: Method, plan: Plan, variant: Variant, seed: int, stream: Stream,
    identity: str,
) -> dict[str, Any]:  # fmt: skip
    """What summary.json says, without the clock."""
    about = _about(plan, variant, seed, stream, identity)
    counted = count_operations(plan.preset, method, stream, result.network)
    return {
        **about,
        "acc": result.acc,
        "bwt": result.bwt,
        "fwt": result.fwt,
        "forgetting": result.forgetting,
        "min_acc": result.min_acc,
        "wc_acc": result.wc_acc,
        "stability_gap": result.stability_gap,
        "calibration_error": result.calibration_error,
        "operations": counted and counted.steps,
        "own_operations": counted and counted.own,
        "accuracy_matrix": result.R.tolist(),
        "baseline": result.baseline.tolist(),
        "tasks": list(result.task_names),
        "parameters": result.network.num_parameters,
        "persistent_state_bytes": list(result.persistent_bytes),
        "steps": len(result.losses),
        "versions": versions(),
    }


def _about(
    plan: Plan, variant: Variant, seed: int, stream: Stream, identity: str
) -> dict[str, Any]:
    """What summary.json and failed.json say of the run itself."""
    method = variant.build()
    return {
        "experiment": plan.preset.name,
        "method": variant.label,
        "method_settings": method.settings(),
        "convention": method.convention,
        "asks_task": method.asks_task,
        "backend": plan.backend,
        "seed": seed,
        "scenario": stream.scenario,
        "stream": stream.description,
        "stream_hash": stream.hash,
        "config_hash": identity,
    }
