"""Advice in the verdict, with the arguments of what ran the search: the command, `search`, or an estimator."""

from jaxreg.lab.report.document import Code, Text
from jaxreg.lab.search.run import Caller, Search


def other_models(caller: Caller) -> Text:
    """Return sentences on how to compare other models, for a search that did not compare them.

    Args:
        caller: Caller of the search.
    """
    models = "A linear model, boosted trees and a random forest were not compared"
    if caller.name == "command":
        return [
            f"{models}, nor were scores of classes and the importance of columns computed. For all of this, search "
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


def more_folds(search: Search) -> Text:
    """Return a sentence on how to get more outer folds.

    Args:
        search: Result of the search.
    """
    caller = search.caller
    if caller.name == "search":
        return ["Search again with more ", Code("repeats"), " in the plan, or with more ", Code("folds"), "."]
    if caller.name == "estimator":
        return ["Search again with more ", Code("repeats"), ", or with more splits in ", Code("cv"), "."]
    if caller.budget:
        return ["Search with a longer ", Code("--budget"), "."]
    if search.plan.quick:
        return ["Search without ", Code("--quick"), " and with another ", Code("--out"), "."]
    return [
        "Search with another ", Code("--out"), " and with a ", Code("--budget"), " that is longer than this search "
        "took, which allows more repeats.",
    ]  # fmt: skip
