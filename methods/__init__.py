"""Methods: continual learning as arithmetic on vectors of length P and questions to a network."""

from . import (
    activations,
    attack,
    context_choice,
    diversity,
    dyads,
    evaluate,
    fip,
    importance,
    interference,
    matching,
    metrics,
    mutual_information,
    pruning,
    shards,
    sparse_map,
    taskspace,
    unit_clusters,
)
from .adp import ADP, train_adp
from .attack import PGD
from .base import Joint, Method, Naive, TaskEnd
from .correlation import ImportanceProbe
from .ensemble import Ensemble
from .evaluate import accuracy
from .ewc import EWC
from .fge import Cycle, train_fge
from .fip import FIP
from .fit import fit
from .gem import AGEM, GEM
from .lwf import LwF
from .mas import MAS
from .memory import Memory
from .moments import Moments
from .observer import Observer
from .packnet import PackNet
from .penalty import QuadraticPenalty
from .rehearsal import Rehearsal
from .replay import DERPP, Replay
from .result import Evaluation, Result
from .shards import sharded
from .si import SI
from .side_by_side import fit_many
from .sig import SIG, WVA
from .stopping import Interrupted
from .superposition import Superposition
from .table import METHODS
from .tasks import SCENARIO_MEANING, Stream, Task
from .xdg import XdG

__all__ = [
    "ADP", "AGEM", "DERPP", "EWC", "FIP", "GEM", "MAS", "METHODS", "PGD", "SCENARIO_MEANING", "SI",
    "SIG", "WVA", "Cycle", "Ensemble", "Evaluation", "ImportanceProbe", "Interrupted", "Joint",
    "LwF", "Memory", "Method", "Moments", "Naive", "Observer", "PackNet", "QuadraticPenalty",
    "Rehearsal", "Replay", "Result", "Stream", "Superposition", "Task", "TaskEnd", "XdG",
    "accuracy", "activations", "attack", "context_choice", "diversity", "dyads", "evaluate", "fip",
    "fit", "fit_many", "importance", "interference", "matching", "metrics", "mutual_information",
    "pruning", "sharded", "shards", "sparse_map", "taskspace", "train_adp", "train_fge",
    "unit_clusters",
]  # fmt: skip
