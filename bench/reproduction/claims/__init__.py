"""What five papers (and one on what a Fisher is) claim: a file for each part of a paper.

A file has `CLAIMS`, a tuple of `Published`; a judge reads kept rows and no prose, and what it says
of numbers it takes from them. `PAPERS` puts the files together, in the order of the page.
"""

from __future__ import annotations

from ..published import Paper

PAPERS: tuple[Paper, ...] = ()
