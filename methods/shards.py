"""Shards: means over large data, asked of a network in parts, in one process or on many machines.

    mean over all of x = sum over shards s of N_s / N mean over s

x is cut into shards by size alone, and their means are added up in float64 in the order of the
shards: the same bits for any number of workers, in whatever order they finish. One shard is exactly
what the question gives for all of x; several differ from it by rounding, and are nearer the truth,
since a float32 sum over all samples rounds more than sums over shards do.

What travels is safetensors both ways: the network, a shard, and a mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..kernels.errors import SettingError, ShapeError, unknown_name
from ..kernels.host_blas import one_blas_thread
from ..nnlite import Network
from ..nnlite.checkpoint import describe_network, named_parameters, pack_arrays, unpack_arrays
from ..nnlite.net import network_from
from .fip import Metric
from .importance import fisher, mas, sig
from .settings import whole

SHARD = 8192  # samples; a multiple of the batch that importances take at a time
Answer = Callable[..., np.ndarray]
Map = Callable[[Callable[[bytes], bytes], Iterable[bytes]], Iterable[bytes]]


def metric_product(net: Network, x: np.ndarray, v: np.ndarray, **settings: Any) -> np.ndarray:
    """g v for v (P,), or for each row of v (V, P); settings as `fip.Metric`'s."""
    metric = Metric(net, x, own=False, **settings)
    return metric.product(v) if v.ndim == 1 else metric.products(v)


def metric_diagonal(net: Network, x: np.ndarray, **settings: Any) -> np.ndarray:
    """g's diagonal (P,), whose sum is the trace of g and of the Gram matrix."""
    return Metric(net, x, own=False, **settings).diagonal()


QUESTIONS: dict[str, Answer] = {
    question.__name__: question for question in (fisher, mas, sig, metric_product, metric_diagonal)
}


def sharded(
    question: Answer,
    net: Network,
    x: np.ndarray,
    y: np.ndarray | None = None,
    *,
    map: Map = map,
    shard: int = SHARD,
    **settings: Any,
) -> np.ndarray:
    """`question(net, x, y, **settings)`, one of QUESTIONS, in shards: a NumPy array of net.dtype.

    x (N, ...), y (N,): anything that can be sliced, as a memory-mapped array; a shard at a time is
    read, when the map asks for it. map(function, messages): any that keeps the order; function
    takes bytes and gives bytes. settings: plain values and arrays that hold for all samples.

        with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:  # multiprocessing's
            sharded(fisher, net, x, map=pool.map)

    Below `if __name__ == "__main__":`, since a spawned process imports the script. Forked processes
    give the same bits, each on one thread.

    Raises SettingError for a network whose samples do not stand alone (batch statistics in mode
    "eval") and for labels that nobody asked for, UnknownNameError for a question that is none,
    ShapeError for x and y that do not fit, and what the question raises.
    """
    name = getattr(question, "__name__", str(question))
    if QUESTIONS.get(name) is not question:
        raise unknown_name("question to shards", name, QUESTIONS)
    shard = whole("shard", shard)
    if len(x) == 0 or (y is not None and len(y) != len(x)):
        labels = "no" if y is None else len(y)
        raise ShapeError(
            f"{len(x)} samples, {labels} labels: give at least one sample, and a label for each or "
            "none"
        )
    if len(x) > shard and net.chain.couples("eval"):
        raise SettingError(
            "batch statistics over all samples cannot be had from shards: use running ones, or one "
            f"shard of {len(x)}"
        )
    if y is not None and question is not fisher:
        raise SettingError(f"{name} asks for no labels; leave y out")
    cuts = [slice(lo, min(lo + shard, len(x))) for lo in range(0, len(x), shard)]
    answers = map(work, _messages(name, net, x, y, cuts, settings))
    total: np.ndarray | float = 0.0
    for part, answer in zip(cuts, answers, strict=True):
        mean = unpack_arrays(answer, "a worker's answer")[0]["mean"]
        total = total + (part.stop - part.start) / len(x) * mean.astype(np.float64)
    return np.asarray(total).astype(net.dtype)


def _messages(
    name: str,
    net: Network,
    x: np.ndarray,
    y: np.ndarray | None,
    cuts: Sequence[slice],
    settings: dict[str, Any],
) -> Iterator[bytes]:
    """What a worker needs for each shard, made when it is asked for."""
    vectors = {
        f"setting.{k}": net.device.get(v) for k, v in settings.items() if hasattr(v, "dtype")
    }
    scalars = {key: value for key, value in settings.items() if not hasattr(value, "dtype")}
    parameters = {f"net.{key}": array for key, array in named_parameters(net).items()}
    network = {**describe_network(net), "backend": net.backend}
    for part in cuts:
        about = {"question": name, "settings": scalars, "network": network, "first": part.start}
        samples = {"x": np.asarray(x[part])} | ({} if y is None else {"y": np.asarray(y[part])})
        yield pack_arrays(parameters | vectors | samples, about)


@one_blas_thread
def work(message: bytes) -> bytes:
    """What a worker does with a message: the shard's mean. Raises the question's errors."""
    arrays, about = unpack_arrays(message, "a shard")

    def under(prefix: str) -> dict[str, np.ndarray]:
        return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}

    net = network_from(under("net."), about["network"], about["network"]["backend"], "a shard")
    settings = about["settings"] | under("setting.")
    if settings.get("kind") == "sampled":
        settings["first"] = about["first"]
    given = (arrays["x"], arrays["y"]) if "y" in arrays else (arrays["x"],)
    mean = QUESTIONS[about["question"]](net, *given, **settings)
    return pack_arrays({"mean": net.device.get(mean)}, {})


__all__ = ["QUESTIONS", "SHARD", "metric_diagonal", "metric_product", "sharded", "work"]
