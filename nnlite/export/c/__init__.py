"""A network as one C99 file and its header, printed from its programs; with Learning it learns.

No heap, no standard output, no globals but constant weights: all state lies in one arena that the
caller gives, whose size is a macro. `parts` cuts a network into what is frozen and what learns,
`predict` and `learn` print functions, `calls` a program's calls, `unit` puts the files together.
The kernels are those of `kernels/c`; `runtime/` has what only exported programs need.
"""

from .export import Exported, export
from .learning import Learning

__all__ = ["Exported", "Learning", "export"]
