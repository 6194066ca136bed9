"""METHODS: every method of continual learning by name, in the order of tables."""

from __future__ import annotations

from .base import Joint, Method, Naive
from .correlation import ImportanceProbe
from .ewc import EWC
from .fip.continual import FIP
from .gem import AGEM, GEM
from .lwf import LwF
from .mas import MAS
from .packnet import PackNet
from .replay import DERPP, Replay
from .si import SI
from .sig import SIG, WVA
from .superposition import Superposition
from .xdg import XdG

METHODS: dict[str, type[Method]] = {
    cls.name: cls
    for cls in (
        ImportanceProbe,
        Naive,
        EWC,
        MAS,
        SI,
        SIG,
        WVA,
        GEM,
        AGEM,
        Replay,
        DERPP,
        LwF,
        PackNet,
        XdG,
        FIP,
        Superposition,
        Joint,
    )
}
