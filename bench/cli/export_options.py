"""What `weightspace export` may be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Named = Annotated[str, typer.Argument(help="Widths, a model, a preset, a run's folder, a file.")]
Target = Annotated[str, typer.Option(help="c, onnx or torch.")]
Out = Annotated[Path, typer.Option(help="The folder that the files go into, or a file.")]
Name = Annotated[str, typer.Option(help="What all names in C begin with.")]
Learn = Annotated[str | None, typer.Option(help="all, or tail:K: what goes on learning there.")]
Batch = Annotated[int, typer.Option(min=1, help="Samples in a learning step.")]
OptimizerName = Annotated[str, typer.Option(help="sgd, momentum, adam, rmsprop or adadelta.")]
Rate = Annotated[float | None, typer.Option(help="Its rate (as elsewhere, if not given).")]
MethodName = Annotated[
    str, typer.Option("--method", "-m", help="naive, ewc, si, mas, packnet or replay.")
]
Lam = Annotated[float, typer.Option(help="Strength of ewc, si or mas.")]
Memories = Annotated[int, typer.Option(min=1, help="Samples that replay remembers.")]
Contexts = Annotated[
    str | None, typer.Option(help="Kind of a superposed network's contexts: binary, ...")
]
Tasks = Annotated[int, typer.Option(min=1, help="How many contexts go along.")]
OneTask = Annotated[
    int, typer.Option(min=0, help="Not for c: the task whose contexts are folded in.")
]
Fold = Annotated[
    bool, typer.Option("--fold", help="BatchNorm2d and activations into the layers before.")
]
Direct = Annotated[
    bool,
    typer.Option("--direct", help="For c: no convolution by Winograd's way: faster, other bits."),
]
Weights = Annotated[str, typer.Option(help="float, or int8: but for a tail that learns.")]
Samples = Annotated[
    Path | None,
    typer.Option(help="For int8: an .npz file with inputs x to calibrate by, or a data set."),
]
Percentile = Annotated[
    float, typer.Option(help="For c in int8: of the samples' ranges; 100: least and largest.")
]
Report = Annotated[
    bool, typer.Option("--report", help="For c: flash, RAM, instructions on emulated targets.")
]
Opset = Annotated[int, typer.Option(help="For onnx: 13 to 17.")]
Names = Annotated[str, typer.Option(help="For torch: sequential or torchvision.")]
