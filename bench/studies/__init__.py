"""Studies: published experiments that are not one stream through `fit`; a module each."""

from __future__ import annotations

from ...kernels.errors import unknown_name
from ..experiments import PRESETS
from .convergent import study as convergent_learning
from .fip_ensemble import study as fip_ensemble
from .fip_geometry import study as fip_geometry
from .fip_sparsify import lenet as fip_sparsify_lenet
from .fip_sparsify import resnet20 as fip_sparsify_resnet20
from .study import Part, Row, Study, StudyPlan, Work, run_study
from .task_space import study as task_space

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        fip_geometry.STUDY,
        fip_sparsify_lenet.STUDY,
        fip_sparsify_resnet20.STUDY,
        fip_ensemble.STUDY,
        fip_ensemble.VGG16,
        convergent_learning.STUDY,
        task_space.STUDY,
    )
}


def find(name: str) -> Study | None:
    """The study `name`; None where it names a preset. Raises UnknownNameError for neither."""
    if name not in STUDIES and name not in PRESETS:
        raise unknown_name("experiment", name, [*PRESETS, *STUDIES])
    return STUDIES.get(name)


__all__ = ["STUDIES", "Part", "Row", "Study", "StudyPlan", "Work", "find", "run_study"]
