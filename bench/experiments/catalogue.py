"""Every experiment by name, in the order in which `weightspace list` shows them."""

from __future__ import annotations

from ...kernels.errors import check_name
from ..runs.comparison import Comparison
from ..runs.experiment import Experiment
from ..studies.convergent import study as convergent
from ..studies.fip_ensemble import study as fip_ensemble
from ..studies.fip_geometry import study as fip_geometry
from ..studies.fip_sparsify import lenet, resnet20
from ..studies.fishers import peers as fishers_peers
from ..studies.fishers import study as fishers
from ..studies.importances import why_sig
from ..studies.of_runs import study as of_runs
from ..studies.on_device import study as on_device
from ..studies.prune_merge import merge, prune
from ..studies.study import Study
from ..studies.superposition import capacity, choice
from ..studies.task_space import study as task_space
from ..studies.winograd import study as winograd
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
        prune.STUDY,
        merge.STUDY,
        task_space.STUDY,
        fishers.STUDY,
        fishers_peers.STUDY,
        capacity.STUDY,
        choice.STUDY,
        of_runs.FIRST_TASK,
        of_runs.BY_WIDTH,
        of_runs.PER_SECOND,
        on_device.STUDY,
        why_sig.STUDY,
        winograd.STUDY,
    )
}
EXPERIMENTS: dict[str, Experiment] = {
    **{name: Comparison(preset) for name, preset in PRESETS.items()},
    **STUDIES,
}


def find(name: str) -> Experiment:
    """The experiment `name`. Raises UnknownNameError, suggesting the nearest."""
    check_name("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]
