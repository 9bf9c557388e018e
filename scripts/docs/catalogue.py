"""Everything public, a line each: docs/catalogue.md.

    python scripts/docs/catalogue.py

A section is a package or module of `jaxreg` or of `jaxreg.lab` that lists its public names in `__all__`. A line is a
name, by the shortest path to import it from, and the first sentence of its docstring.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from pkgutil import iter_modules
from types import FunctionType, ModuleType

import jaxreg
import jaxreg.lab

PAGE = Path(__file__).parents[2] / "docs" / "catalogue.md"
WRITTEN_BY = """Written by `python scripts/docs/catalogue.py` from the docstrings, which say more: see
`help(jaxreg.MaxNorm)`. Each name stands with its shortest path; the module that heads its section has it too."""


def page() -> str:
    """Return the text of the page."""
    lines = ["# API index", "", WRITTEN_BY]
    for package in (jaxreg, jaxreg.lab):
        for module in sections(package):
            lines += ["", f"## `{module.__name__}`", "", first_sentence(module.__doc__), ""]
            lines += [f"- `{shortest(package, module, name)}`: {sentence(module, name)}" for name in module.__all__]
    return "\n".join(lines) + "\n"


def sections(package: ModuleType) -> Iterator[ModuleType]:
    """Yield the modules of a package that list public names, in alphabetical order."""
    for found in iter_modules(package.__path__, f"{package.__name__}."):
        if not found.name.rpartition(".")[2].startswith("_"):
            module = import_module(found.name)
            if hasattr(module, "__all__") and module is not jaxreg.lab:
                yield module


def shortest(package: ModuleType, module: ModuleType, name: str) -> str:
    """Return the path to a name through the package, if the package has it, or else through the module."""
    above = name in package.__all__ and getattr(package, name) is getattr(module, name)
    return f"{(package if above else module).__name__}.{name}"


def sentence(module: ModuleType, name: str) -> str:
    """Return what a name is, in one sentence."""
    value = getattr(module, name)
    documented = isinstance(value, type | FunctionType)
    return first_sentence(value.__doc__ if documented else below(module, name))


def first_sentence(docstring: str) -> str:
    """Return the first sentence of a docstring, on one line."""
    found = re.match(r"(.+?\.)(\s|$)", docstring.strip(), re.DOTALL)
    return " ".join(found[1].split())


def below(module: ModuleType, name: str) -> str:
    """Return the docstring of a constant: the string below the line that makes it, in the module it comes from."""
    for statement, after in pairwise(ast.parse(inspect.getsource(module)).body):
        if isinstance(statement, ast.ImportFrom) and name in [alias.name for alias in statement.names]:
            return below(import_module(statement.module), name)
        match statement, after:
            case ((ast.Assign([target]) | ast.AnnAssign(target)), ast.Expr(ast.Constant(str(docstring)))):
                if ast.unparse(target) == name:
                    return docstring
    raise ValueError(f"{module.__name__}.{name} has no docstring below it")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(PAGE)
