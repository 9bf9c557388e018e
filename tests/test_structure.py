"""The layering of the code, read from its import statements: packages from bottom to top, no cycle, few floors."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import jaxreg

PACKAGE = Path(jaxreg.__file__).parent

# From bottom to top: a room (a package or a module that stands by itself) imports from lower lines only. Rooms of one
# line do not know each other.
FLOORS = [
    "_garbage _hyperparameters lab.cards",
    "_lazy",
    "_complex _checks _precision _protocols _sharding",
    "_groups strengths",
    "_singular_values",
    "penalties constraints",
    "rules keras",
    "transforms diagnostics solvers",
    "jaxreg",
    "lab.labelled lab.atomic_files lab.stats lab.tabular lab.layers lab.data",
    "lab.sweeps lab.plots lab.models lab.datasets lab.weights lab.population lab.hypergradient",
    "lab.training lab.padding",
    "lab.studies",
    "lab.report",
    "lab.search",
    "lab.cli",
]
MOST_FLOORS = 14
WITHOUT_JAX = ["lab.stats", "lab.plots", "lab.report", "lab.tabular", "lab.cli", "lab.sweeps.dataset"]
LIBRARY_MAY_IMPORT = {"jax", "optax", "numpy", "jaxreg"} | set(sys.stdlib_module_names)


@cache
def imports() -> dict[str, dict[str, str]]:
    """{module of jaxreg: {dotted name that it imports: module it comes from}}."""
    modules = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        if "experiments" in file.relative_to(PACKAGE).parts:
            continue
        parts = ("jaxreg", *file.relative_to(PACKAGE).with_suffix("").parts)
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        names = {}
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name: alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}, line {node.lineno}: a relative import"
                names |= {f"{node.module}.{alias.name}": str(node.module) for alias in node.names}
        modules[module] = names
    return modules


def module_of(name: str) -> str:
    """The module of jaxreg that importing the dotted `name` loads last, without the package's name."""
    while name not in imports():
        name = name.rpartition(".")[0]
    return name.removeprefix("jaxreg").removeprefix(".")


@cache
def edges() -> dict[str, set[str]]:
    """{module: modules of jaxreg it imports}, both without the package's name; "" is the package itself."""
    return {
        module_of(module): {module_of(name) for name in names if name.split(".")[0] == "jaxreg"}
        for module, names in imports().items()
    }


def room(module: str) -> str:
    """The package or the single module that a module belongs to."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "lab" else parts[0] or "jaxreg"


@cache
def rooms() -> dict[str, set[str]]:
    """{room: rooms it imports from}, without the faces of `jaxreg.lab` and `python -m jaxreg`."""
    graph: dict[str, set[str]] = {}
    for module, names in edges().items():
        if module not in ("lab", "__main__"):
            graph.setdefault(room(module), set()).update(map(room, names))
    return {name: below - {name} for name, below in graph.items()}


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
    return [module for module in edges() if not module.startswith("lab") and module != "__main__"]


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
    assert not [module for module in library() if module and "" in edges()[module]]


def test_packages_import_downwards():
    floor = {name: number for number, line in enumerate(FLOORS) for name in line.split()}
    assert set(rooms()) == set(floor), "every package has a line in FLOORS"
    upwards = [f"{name} → {below}" for name, names in rooms().items() for below in names if floor[below] >= floor[name]]
    assert not upwards


def test_the_house_has_few_floors():
    @cache
    def height(name: str) -> int:
        return 1 + max(map(height, rooms()[name]), default=0)

    assert max(map(height, rooms())) <= MOST_FLOORS


def packages() -> list[str]:
    return [module for module in imports() if (PACKAGE.parent / module.replace(".", "/")).is_dir()]


@pytest.mark.parametrize("package", packages())
def test_no_module_is_called_like_a_name_that_its_package_exports(package):
    # Importing the submodule would replace the name by it.
    inside = {module.rpartition(".")[2] for module in imports() if module.rpartition(".")[0] == package}
    exported = set(getattr(import_module(package), "__all__", ())) - {"diagnostics", "keras"}  # these are modules
    assert not inside & exported


def test_nothing_below_the_command_prints():
    for module in imports():
        if module.startswith("jaxreg.lab.cli"):
            continue
        file = PACKAGE.parent / module.replace(".", "/")
        tree = ast.parse((file / "__init__.py" if file.is_dir() else file.with_suffix(".py")).read_text("utf-8"))
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert not [f for f in calls if isinstance(f, ast.Name) and f.id == "print"], f"{module} prints"


@pytest.mark.parametrize("package", ["jaxreg", *packages()])
def test_every_public_name_can_be_imported(package):
    module = import_module(package)
    for name in getattr(module, "__all__", ()):
        assert getattr(module, name) is not None


def test_nobody_imports_an_experiment():
    for module, names in imports().items():
        assert not [name for name in names if name.split(".")[0] in {"experiments", "headlines"}], module


def loaded(code: str, names: list[str], folder: Path) -> list[str]:
    """Those of `names` that running `code` in a process of its own loads."""
    code = f"import sys\n{code}\nprint([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout)


@pytest.mark.parametrize("module", WITHOUT_JAX)
def test_what_only_reads_results_loads_no_jax(module, tmp_path):
    assert loaded(f"import jaxreg, jaxreg.{module}", ["jax", "flax", "optax"], tmp_path) == []


def test_importing_the_library_loads_no_framework(tmp_path):
    heavy = ["flax", "matplotlib", "sklearn", "scipy.optimize", "xarray", "haiku", "equinox", "jaxreg.lab"]
    assert loaded("import jaxreg\nfor name in jaxreg.__all__: getattr(jaxreg, name)", heavy, tmp_path) == []


def test_extras_that_errors_name_exist_and_are_locked():
    files = [file.read_text("utf-8") for file in PACKAGE.rglob("*.py")]
    named = {extra for text in files for extra in re.findall(r"pip install 'jaxreg\[(\w+)\]'", text)}
    root = Path(__file__).parents[1]
    extras = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    lock = (root / "requirements.lock").read_text("utf-8")
    assert {"excel", "lab", "onnx", "parquet"} <= named <= {*extras}
    packages = [re.match(r"[\w-]+", entry)[0] for extra in named for entry in extras[extra]]
    assert [package for package in packages if not re.search(rf"^{package}==", lock, re.MULTILINE)] == []
