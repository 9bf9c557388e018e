"""Advice in the verdict of a search. It names arguments of what the user called: command, `search` or estimator."""

import numpy as np

from jaxreg.lab.report.document import Code, Text
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.search import summaries
from jaxreg.lab.search.run import Caller


def other_models(caller: Caller) -> Text:
    """Return sentences that say how to compare other models. The search has not compared any.

    Args:
        caller: Caller of the search.
    """
    models = "A linear model, boosted trees and a random forest were not compared"
    if caller.name == "command":
        return [
            f"{models}. Scores of classes and the importance of columns were not computed. To get all of these, search "
            "without ", Code("--quick"), " and with another ", Code("--out"), ".",
        ]  # fmt: skip
    if caller.name == "search":
        return [f"{models}. To compare them, pass ", Code("rivals=True"), "."]
    return [f"{models}. ", Code("jaxreg.lab.search.search"), " compares them with ", Code("rivals=True"), "."]


def any_model(caller: Caller) -> Text:
    """Return the argument that allows a model other than a neural network.

    Args:
        caller: Caller of the search.
    """
    return [Code("--any-model" if caller.name == "command" else "any_model=True")]


def epochs(caller: Caller) -> Text:
    """Return the argument that sets the number of epochs.

    Args:
        caller: Caller of the search.
    """
    return [Code({"command": "--epochs", "search": "Plan(epochs=…)", "estimator": "epochs"}[caller.name])]


def more_folds(source: Source) -> Text:
    """Return sentences that say how many repeats would make the change in loss significant, and how to get them.

    Args:
        source: Result of the search.
    """
    caller, needed = source.data.caller, source.find(summaries.repeats_needed)
    if not np.isfinite(needed.data):
        return ["More repeats would hardly be enough."]
    enough: Text = [
        "If the change stays the same, ",
        needed.number(form="d"),
        " repeats are enough. Search ",
    ]
    longer: Text = [" about ", source.find(summaries.times_longer).number(form=".0f"), " times as long"]
    if caller.budget:
        return [*enough, "with a ", Code("--budget" if caller.name == "command" else "budget"), *longer, "."]
    if caller.name == "command":
        return [
            *enough, "with another ", Code("--out"), " and with a ", Code("--budget"), *longer, " as this search took.",
        ]  # fmt: skip
    where: Text = [" in the plan."] if caller.name == "search" else [", or splits in ", Code("cv"), "."]
    return [*enough, "with so many ", Code("repeats"), *where]
