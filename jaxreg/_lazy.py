"""Lazy imports: each public name of a package is imported when it is first used (PEP 562).

With lazy imports, `import jaxreg` takes milliseconds, and a command that only reads stored results never loads JAX. The
names are read from the package's stub, `__init__.pyi`. Type checkers and editors read the stub too.
"""

import ast
import difflib
import pkgutil
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from jaxreg._garbage import without_garbage_collection


def attach(package: str) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__all__`, `__getattr__` and `__dir__` for a package that imports its public names only when needed.

    Args:
        package: Name of the package. Its stub lists the public names as imports. `from package import module` lists a
            submodule. `from module import *` lists all names in the module's `__all__`, which is read from the source
            code without importing the module.
    """
    homes = _homes(package)

    def getattribute(name: str) -> Any:
        if name not in homes:
            raise missing(package, name)
        home = homes[name]
        with without_garbage_collection():
            value = import_module(f"{home}.{name}") if home == package else getattr(import_module(home), name)
        setattr(sys.modules[package], name, value)
        return value

    names = sorted(homes)
    return names, getattribute, lambda: [*vars(sys.modules[package]), *names]


def missing(module: str, name: str) -> AttributeError:
    """Return the error for a name that a module of jaxreg does not have. The error suggests the most similar name.

    For `from module import name`, Python raises its own `ImportError` instead, without this suggestion.

    Args:
        module: Name of the module.
        name: Name that was looked up.
    """
    advice = "" if name.startswith("_") else _advice(module, name)
    # With a name, Python does not add a suggestion of its own.
    return AttributeError(f"module {module!r} has no attribute {name!r}{advice}", name=name)


def _advice(module: str, name: str) -> str:
    is_package = hasattr(sys.modules[module], "__path__")
    if is_package and name.isidentifier() and find_spec(f"{module}.{name}"):
        return f"; import {module}.{name} first"
    places: dict[str, str] = {}
    for home in ("jaxreg.lab", "jaxreg.diagnostics", "jaxreg.keras", "jaxreg"):  # a later place is preferred
        names = _listed(home) if home in ("jaxreg.diagnostics", "jaxreg.keras") else _homes(home)
        places |= {_letters(public): f"{home}.{public}" for public in names}
    own = sys.modules[module].__all__
    places |= {_letters(public): f"{module}.{public}" for public in own}
    if _letters(name) in places:
        return f"; use {places[_letters(name)]}"
    # A name that goes on behind a public one is another word, such as `regularizers`, and no typing error.
    near = [public for public in places if not _letters(name).startswith(public)]
    closest = difflib.get_close_matches(_letters(name), near, n=1, cutoff=0.8)
    if closest:
        return f"; did you mean {places[closest[0]]}?"
    return f"; it has {', '.join(own)}" if len(own) < 10 else ""


def _letters(name: str) -> str:
    return name.lower().replace("_", "")


def _homes(package: str) -> dict[str, str]:
    homes: dict[str, str] = {}
    for statement in _statements(package, "__init__.pyi"):
        if isinstance(statement, ast.ImportFrom) and statement.module is not None:
            names = [alias.name for alias in statement.names]
            homes |= dict.fromkeys(_listed(statement.module) if names == ["*"] else names, statement.module)
    return homes


def _listed(module: str) -> list[str]:
    parent, _, name = module.rpartition(".")
    for file in (f"{name}.py", f"{name}/__init__.py"):
        try:
            statements = _statements(parent, file)
        except FileNotFoundError:
            continue
        for statement in statements:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
                return ast.literal_eval(statement.value)
    raise ValueError(f"module {module} defines no __all__; add a list of the names that it exports")


def _statements(package: str, file: str) -> list[ast.stmt]:
    source = pkgutil.get_data(package, file)
    if source is None:
        raise FileNotFoundError(f"the package {package} has no file {file}")
    return ast.parse(source).body
