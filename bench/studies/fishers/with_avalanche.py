"""avalanche's EWC or SI in a process of its own: python with_avalanche.py WORK.npz ANSWER.json

Knows nothing of this project: arrays and settings come in a file, accuracies go out in one. The
network and its first weights are those it is given, with the head masked to the task's classes.
"""

from __future__ import annotations

import importlib
import json
import sys
from importlib.metadata import version
from typing import Any

import numpy as np


def main(given: str, answer: str) -> None:
    """Learn what the file `given` holds, and write the accuracies to the file `answer`."""
    import torch

    torch.set_num_threads(1)
    work = dict(np.load(given))
    asked = json.loads(str(work.pop("asked")))
    torch.manual_seed(asked["seed"])
    net = _network(work, asked["order"])
    parts = [_dataset(work[f"{part}_x"], work[f"{part}_y"]) for part in ("train", "test")]
    benchmark = importlib.import_module("avalanche.benchmarks").nc_benchmark(
        *parts, n_experiences=len(asked["order"]) // 2, task_labels=True, shuffle=False,
        fixed_class_order=asked["order"],
    )  # fmt: skip
    strategy = _strategy(net, asked)
    for experience in benchmark.train_stream:
        strategy.train(experience)
    found = {
        "accuracies": [_accuracy(net, e.dataset, e.task_label) for e in benchmark.test_stream],
        "importance": _importance(strategy, asked["method"]),
        "versions": {name: version(name) for name in ("avalanche-lib", "torch")},
    }
    with open(answer, "w", encoding="utf-8") as file:
        json.dump(found, file)


def _network(work, order):
    """An MLP of the weights given, told the task: of other classes it gives -1e9."""
    import torch

    multi: Any = importlib.import_module("avalanche.models").MultiTaskModule

    class Masked(multi):
        def __init__(self) -> None:
            super().__init__()
            self.max_class_label = len(order)  # of the outputs that it makes room for
            layers: list[torch.nn.Module] = []
            for number in range(len(work["sizes"]) - 1):
                weight, bias = (torch.tensor(work[f"{k}_{number}"]) for k in ("weight", "bias"))
                layer = torch.nn.Linear(*work["sizes"][number : number + 2].tolist())
                layer.weight.data, layer.bias.data = weight, bias
                layers += [torch.nn.ReLU(), layer] if number else [layer]
            self.body = torch.nn.Sequential(*layers)

        def forward_single_task(self, x, task_label):
            hidden = torch.ones(len(order), dtype=torch.bool)
            hidden[order[2 * task_label : 2 * task_label + 2]] = False
            return self.body(x).masked_fill(hidden, -1e9)

    return Masked()


def _dataset(x, y):
    import torch

    found: Any = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
    found.targets = y.tolist()
    return found


def _strategy(net, asked):
    import torch

    supervised = importlib.import_module("avalanche.training.supervised")
    common = {
        "model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=asked["lr"]),
        "criterion": torch.nn.CrossEntropyLoss(), "train_mb_size": asked["batch"],
        "train_epochs": asked["epochs"], "evaluator": None,
    }  # fmt: skip
    if asked["method"] == "ewc":
        return supervised.EWC(ewc_lambda=asked["lam"], mode="online", decay_factor=1.0, **common)
    if asked["method"] == "si":
        return supervised.SynapticIntelligence(si_lambda=asked["lam"], eps=asked["xi"], **common)
    return supervised.Naive(**common)


def _importance(strategy, method: str) -> float:
    """The largest importance that is kept after the last task."""
    plugins = {type(plugin).__name__: plugin for plugin in strategy.plugins}
    if method == "ewc":
        kept = list(plugins["EWCPlugin"].importances.values())[-1]
    elif method == "si":
        kept = plugins["SynapticIntelligencePlugin"].ewc_data[1]
    else:
        return 0.0
    return max(float(one.data.max()) for one in kept.values())


def _accuracy(net, dataset, task: int) -> float:
    import torch

    right = 0
    with torch.no_grad():
        for x, y, *_ in torch.utils.data.DataLoader(dataset, batch_size=1000):
            right += int((net.forward_single_task(x, task).argmax(dim=1) == y).sum())
    return right / len(dataset)


if __name__ == "__main__":
    main(*sys.argv[1:])
