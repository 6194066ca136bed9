"""Every experiment by name, in the order in which `weightspace list` shows them."""

from __future__ import annotations

from ...kernels.errors import unknown_name
from ..runs.comparison import Comparison
from ..runs.experiment import Experiment
from ..studies.convergent import study as convergent
from ..studies.fip_ensemble import study as fip_ensemble
from ..studies.fip_geometry import study as fip_geometry
from ..studies.fip_sparsify import lenet, resnet20
from ..studies.study import Study
from ..studies.task_space import study as task_space
from .presets import PRESETS

STUDIES: dict[str, Study] = {
    one.name: one
    for one in (
        fip_geometry.STUDY,
        lenet.STUDY,
        resnet20.STUDY,
        fip_ensemble.STUDY,
        fip_ensemble.VGG16,
        convergent.STUDY,
        task_space.STUDY,
    )
}
EXPERIMENTS: dict[str, Experiment] = {
    **{name: Comparison(preset) for name, preset in PRESETS.items()},
    **STUDIES,
}


def find(name: str) -> Experiment:
    """The experiment `name`. Raises UnknownNameError, suggesting the nearest."""
    if name not in EXPERIMENTS:
        raise unknown_name("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]
