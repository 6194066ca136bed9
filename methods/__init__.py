"""Methods: continual learning as arithmetic on vectors of length P and questions to a network."""

from . import context_choice, fip, importance, metrics
from .base import Joint, Method, Naive, TaskEnd
from .correlation import ImportanceProbe
from .ewc import EWC
from .fip import FIP
from .fit import Interrupted, Observer, accuracy, fit
from .mas import MAS
from .memory import Memory
from .penalty import QuadraticPenalty
from .result import Evaluation, Result
from .si import SI
from .sig import SIG, WVA
from .superposition import Superposition
from .tasks import SCENARIO_MEANING, Stream, Task

METHODS: dict[str, type[Method]] = {
    cls.name: cls
    for cls in (ImportanceProbe, Naive, EWC, MAS, SI, SIG, WVA, FIP, Superposition, Joint)
}

__all__ = [
    "EWC",
    "FIP",
    "MAS",
    "METHODS",
    "SCENARIO_MEANING",
    "SI",
    "SIG",
    "WVA",
    "Evaluation",
    "ImportanceProbe",
    "Interrupted",
    "Joint",
    "Memory",
    "Method",
    "Naive",
    "Observer",
    "QuadraticPenalty",
    "Result",
    "Stream",
    "Superposition",
    "Task",
    "TaskEnd",
    "accuracy",
    "context_choice",
    "fip",
    "fit",
    "importance",
    "metrics",
]
