"""Everything public, a line each: docs/catalogue.md.

    python scripts/docs/catalogue.py

A line is a name and the first sentence of its docstring.
"""

import ast
import inspect
import re
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import FunctionType, ModuleType

PAGE = Path(__file__).parents[2] / "docs" / "catalogue.md"
ALL = ""

# (module, heading, names): without a heading the module's own first sentence stands under its name.
SECTIONS = [
    ("jaxreg", "penalties", "L1 L2 L1L2 Lp MCP GroupLasso Linf Nuclear Spectral Orthogonal ToReference"),
    (
        "jaxreg",
        "constraints",
        "MaxNorm MinMaxNorm UnitNorm MaxRMS NonNeg Box LinfBall L1Ball Simplex SumTo FrobeniusSphere TreeNorm "
        "SpectralNorm SoftSpectralCap NuclearBall Orthonormal Sparse NMSparse Intersection",
    ),
    (
        "jaxreg",
        "transformations",
        "penalize project decay independent_decay corrected_decay cautious_decay p_norm_decay proximal proximal_adam "
        "bregman bounded FixedBound InitialBound WarmBound InflectionBound conditional_gradient steepest hyperball",
    ),
    (
        "jaxreg",
        "trees and diagnostics",
        "explain penalty projected apply_updates violation feasible tree_norm to_reference initial_spheres "
        "convert_strength Meaning diagnostics keras",
    ),
    ("jaxreg", "kinds of weights", "KERNELS RECURRENT_KERNELS BIASES EMBEDDINGS"),
    ("jaxreg.diagnostics", "", ALL),
    ("jaxreg.keras", "", ALL),
    ("jaxreg.lab", "trainings and sweeps", "sweep open_store Labelled fit Problem Recipe"),
    ("jaxreg.lab", "models", "MLP CNN LSTM GRU Model linen nnx equinox"),
    (
        "jaxreg.lab",
        "data",
        "Data moons tutorial_moons digits digits_by_row breast_cancer diabetes sunspots windows openml splits "
        "standardised",
    ),
    (
        "jaxreg.lab",
        "losses and metrics",
        "BINARY CLASSES NUMBERS Task binary_cross_entropy binary_accuracy categorical_cross_entropy "
        "categorical_accuracy squared_error root_mean_squared_error equal_error_rate",
    ),
    ("jaxreg.lab", "case studies", "Study Arm Claim Size run_study open_study"),
    ("jaxreg.lab", "estimators of scikit-learn", "RegularizedMLPClassifier RegularizedMLPRegressor"),
    ("jaxreg.lab.stats", "", ALL),
    ("jaxreg.lab.plots", "", ALL),
    ("jaxreg.lab.figures", "", ALL),
    ("jaxreg.lab.report", "", "report"),
    ("jaxreg.lab.open_sweep", "", ALL),
    ("jaxreg.lab.record", "", "StudyResults"),
    ("jaxreg.lab.weights", "", ALL),
    ("jaxreg.lab.hypergradient", "", ALL),
    ("jaxreg.lab.population", "", ALL),
    ("jaxreg.lab.fit", "", "begin advance State"),
    ("jaxreg.lab.data", "", "parted"),
    ("jaxreg.lab.datasets", "", "yearly_sunspots"),
    ("jaxreg.lab.layers", "", ALL),
    ("jaxreg.lab.search", "", "search Plan Search"),
    ("jaxreg.lab.searched", "", "open_search"),
    ("jaxreg.lab.compiled", "", "keep_compiled"),
]


def page() -> str:
    """The text of the page."""
    said = "Written by `python scripts/docs/catalogue.py` from the docstrings, which say more: `help(jaxreg.MaxNorm)`."
    lines = ["# Everything there is, a line each", "", said]
    for module, heading, names in SECTIONS:
        owner = import_module(module)
        lines += ["", f"## `{module}`" + (f": {heading}" if heading else ""), ""]
        lines += [] if heading else [first_sentence(owner.__doc__), ""]
        lines += [f"- `{name}`: {sentence(owner, name)}" for name in names.split() or public(owner)]
    return "\n".join(lines) + "\n"


def public(module: ModuleType) -> list[str]:
    """The names that a module lists, or else those of the functions and classes that it defines."""
    made = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return getattr(module, "__all__", [name for name in made if not name.startswith("_")])


def sentence(module: ModuleType, name: str) -> str:
    """What a name is."""
    value = getattr(module, name)
    documented = isinstance(value, type | FunctionType | ModuleType)
    return first_sentence(value.__doc__ if documented else below(module, name))


def first_sentence(docstring: str) -> str:
    """The first sentence of a docstring, on one line."""
    found = re.match(r"(.+?\.)(\s|$)", docstring.strip(), re.DOTALL)
    return " ".join(found[1].split())


def below(module: ModuleType, name: str) -> str:
    """The docstring of a constant: the string below the line that makes it, wherever it was imported from."""
    for statement, after in pairwise(ast.parse(inspect.getsource(module)).body):
        if isinstance(statement, ast.ImportFrom) and name in [alias.name for alias in statement.names]:
            return below(import_module(statement.module), name)
        if isinstance(statement, ast.Assign) and name in [ast.unparse(target) for target in statement.targets]:
            return ast.literal_eval(after.value)
    raise ValueError(f"{module.__name__}.{name} has no docstring below it")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(PAGE)
