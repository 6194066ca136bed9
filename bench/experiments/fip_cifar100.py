"""Twenty tasks of five classes of CIFAR-100 along invariant paths (Raghavan & Thomson, Fig. 2).

GEM's reduced ResNet-18, one head of 100 outputs; the order begins with the paper's two tasks, of
which the rest is not published. The head is masked to the task's five classes: the paper's 82.5 %
over all tasks from 500 images is out of reach of an unmasked one (`--set scenario=class` shows it).
500 samples a task are stored for FIP, GEM and replay alike. Batch statistics in tests, too, since
running ones would be the last task's. So there is no EWC beside them: its Fisher is a mean over
single samples, whose outputs then depend on each other.
"""

from ..runs.preset import Preset

PRESET = Preset(
    name="fip-cifar100",
    summary="20 tasks of 5 classes of CIFAR-100, reduced ResNet-18, along invariant paths",
    stream="split",
    scenario="task",
    data="cifar-100",
    stream_settings={
        "classes_per_task": 5, "class_order": "fip", "normalise": "cifar", "flat": False,
    },
    model="reduced-resnet18",
    model_settings={"statistics": "batch"},
    optimizer="sgd",
    lr=0.03,
    momentum=0.9,
    steps=250,
    batch_size=100,
    methods={
        "naive": {},
        "fip": {"memories": 500, "batch": 100, "strength": 1.0},
        "gem": {"memories": 500},
        "replay": {"memories": 500},
    },
)  # fmt: skip
