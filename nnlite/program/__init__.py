"""A step as data: what a network's verb does, recorded once, then printed, planned and replayed.

`program` says what a Program is; `recorder` writes one down; `verbs` knows what is recorded of each
verb; `plan` packs its buffers; `replay` does it again, on arrays.
"""

from .program import Call, Cost, Counter, Place, Program, View, cost
from .verbs import VERBS, record

__all__ = ["VERBS", "Call", "Cost", "Counter", "Place", "Program", "View", "cost", "record"]
