"""The layering of the code, read from its import statements."""

import ast
import subprocess
import sys
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest

import jaxreg

PACKAGE = Path(jaxreg.__file__).parent

# Each line is a chain from top to bottom: no module reaches one to its left.
CHAINS = [
    "transforms trees paths constraints objects",
    "transforms trees paths reference objects",
    "decay penalties objects",
    "diagnostics trees paths kinds",
    "table paths groups objects",
    "lab.sweep lab.fit transforms penalties objects",
    "lab.cli lab.report lab.plots lab.results",
    "lab.cli lab.report lab.stats lab.results",
]
WITHOUT_JAX = ["lab.stats", "lab.plots", "lab.report", "lab.results"]
LIBRARY_MAY_IMPORT = {"jax", "optax", "numpy", "jaxreg"} | set(sys.stdlib_module_names)


def named(name: str, modules: set[str]) -> str:
    """The module of jaxreg, without the package's name, that importing `name` loads."""
    while name not in modules:
        name = name.rpartition(".")[0]
    return name.removeprefix("jaxreg").removeprefix(".")


@cache
def imports() -> dict[str, set[str]]:
    """{module of jaxreg: dotted names it imports}, each name of a `from` import included."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = ("jaxreg", *file.relative_to(PACKAGE).with_suffix("").parts)
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        names = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file.name}, line {node.lineno}: a relative import"
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
        found[module] = names
    return found


@cache
def edges() -> dict[str, set[str]]:
    """{module: modules of jaxreg it imports}, both without the package's name."""
    modules = set(imports())
    return {
        named(module, modules): {named(n, modules) for n in names if n.split(".")[0] == "jaxreg"}
        for module, names in imports().items()
    }


def reached(module: str) -> set[str]:
    """The modules of jaxreg that `module` needs, at any distance."""
    seen: set[str] = set()
    ahead = [module]
    while ahead:
        for name in edges().get(ahead.pop(), set()) - seen:
            seen.add(name)
            ahead.append(name)
    return seen


def library() -> list[str]:
    return [module for module in edges() if not module.startswith("lab")]


def test_library_imports_only_jax_optax_numpy_and_the_standard_library():
    for module in library():
        roots = {name.split(".")[0] for name in imports()[f"jaxreg.{module}".rstrip(".")]}
        assert roots <= LIBRARY_MAY_IMPORT, f"jaxreg.{module} imports {roots - LIBRARY_MAY_IMPORT}"


def test_library_never_imports_the_lab():
    for module in library():
        assert not [name for name in reached(module) if name.startswith("lab")], f"jaxreg.{module} needs the lab"


def test_no_module_imports_itself_through_others():
    assert not [module for module in edges() if module and module in reached(module)]


def test_only_the_lab_imports_the_package_as_a_whole():
    # Inside the library, `import jaxreg` would make the order of the imports in `__init__` matter.
    assert not [module for module in library() if "" in edges()[module]]


@pytest.mark.parametrize("chain", CHAINS)
def test_imports_run_downwards(chain):
    for upper, lower in combinations(chain.split(), 2):
        assert upper not in reached(lower), f"jaxreg.{lower} needs jaxreg.{upper}, which is above it"


@pytest.mark.parametrize("module", WITHOUT_JAX)
def test_statistics_pictures_and_report_import_no_jax(module):
    names = imports().get(f"jaxreg.{module}", set())
    assert not {name for name in names if name.split(".")[0] in {"jax", "optax", "flax"}}


def test_nobody_imports_an_experiment():
    for module, names in imports().items():
        assert not [name for name in names if name.split(".")[0] == "experiments"], module


def test_importing_the_library_loads_no_framework(tmp_path):
    heavy = "flax", "matplotlib", "sklearn", "scipy.optimize", "xarray", "haiku", "equinox", "jaxreg.lab"
    code = f"import sys, jaxreg; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
