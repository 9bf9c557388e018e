"""Data of a forest plot: how much each candidate of a search changes the loss and the score."""

import numpy as np

from jaxreg.lab.report.effects import Effects, Measure
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.report.quantities import Quantity
from jaxreg.lab.search import summaries
from jaxreg.lab.search.candidates import NONE
from jaxreg.lab.search.run import Search


def forest(source: Source) -> Effects:
    """Compute how each candidate changes the loss and the score, with 95 % intervals.

    Each candidate is compared with the same network without a regulariser. The intervals are those of Student's t.

    Args:
        source: The search.
    """
    found: Search = source.data
    tried = [each for each in found.tried if each.method != NONE]
    score = "accuracy" if found.setting.task.classes else "R²"
    times = 100 if score == "accuracy" else 1
    measures = [
        Measure(Quantity("loss"), lower=True),
        Measure(Quantity(score, "points" if times == 100 else "", "+.2f", times), lower=False),
    ]
    changes = [
        [
            [factor * value for value in (one.mean, one.low, one.high)]
            for one in (source.find(figure, each.label).data for each in tried)
        ]
        for factor, figure in ((1, summaries.change_in_loss), (times, summaries.change_in_score))
    ]
    chosen = "" if found.chosen.method == NONE else found.chosen.label
    labels, groups = [each.label for each in tried], [each.method for each in tried]
    return Effects(measures, labels, groups, np.array(changes).reshape(2, len(tried), 3), chosen)
