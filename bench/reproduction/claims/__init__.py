"""What five papers (and one on what a Fisher is) claim: a file for each part of a paper.

A file has `CLAIMS`, a tuple of `Published`; a judge reads kept rows and no prose, and what it says
of numbers it takes from them. `PAPERS` puts the files together, in the order of the page.
"""

from __future__ import annotations

from ..published import Paper
from . import (
    convergent,
    fip_ensembles,
    fip_paths,
    fip_sparsify,
    importances,
    superposition,
    task_space,
    vandeven,
)  # fmt: skip

PAPERS: tuple[Paper, ...] = (
    Paper(
        "fip", "Functionally invariant paths (Raghavan & Thomson 2022)",
        "G. Raghavan & M. Thomson, arXiv 2205.00334.",
        (*fip_paths.CLAIMS, *fip_sparsify.CLAIMS, *fip_ensembles.CLAIMS),
    ),
    Paper(
        "superposition", "Superposition of many models into one (Cheung et al. 2019)",
        "Cheung, Terekhov, Chen, Agrawal & Olshausen, NeurIPS 2019, arXiv 1902.05522; the averages "
        "of fifty tasks are its text's.", superposition.CLAIMS,
    ),
    Paper(
        "importances", "Correlation of importances (Kutalev 2022)",
        "A. Kutalev, Correlation of the importances of neural network weights calculated by modern "
        "methods of overcoming catastrophic forgetting, arXiv 2211.17012; accuracies from the logs "
        "of aakutalev/ewc-features.", importances.CLAIMS,
    ),
    Paper(
        "task-space", "Task space (Campbell et al. 2018)",
        "Campbell, Kieras, Kruger & Tao: tasks by their correlation; R from the authors' notebook.",
        task_space.CLAIMS,
    ),
    Paper(
        "convergent", "Convergent learning (Li, Yosinski et al. 2016)",
        "Li, Yosinski, Clune, Lipson & Hopcroft, Convergent learning: do different neural networks "
        "learn the same representations?, ICLR 2016, arXiv 1511.07543; losses from the authors' "
        "logs.", convergent.CLAIMS,
    ),
    Paper(
        "fishers", "The Fisher information of EWC (van de Ven 2025)",
        "G. M. van de Ven, On the computation of the Fisher information in continual learning, "
        "ICLR blog posts 2025, arXiv 2502.11756; a smaller network and fewer steps here.",
        vandeven.CLAIMS,
    ),
)  # fmt: skip
