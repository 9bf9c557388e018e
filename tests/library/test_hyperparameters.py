"""How rules print, compare and hash, and which arguments and names they refuse."""

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from jaxreg._protocols import Constraint, Penalty

WRITTEN = {
    "MaxNorm(3.0)": jr.MaxNorm(3.0),
    "MaxNorm(3.0, axis=0)": jr.MaxNorm(3.0, axis=0),
    "MaxNorm(3.0, axis=(0, 1))": jr.MaxNorm(3.0, (0, 1)),
    "MaxNorm(float('inf'))": jr.MaxNorm(np.inf),
    "L1(0.1)": jr.L1(0.1),
    "L1L2(l1=0.1, l2=0.2)": jr.L1L2(0.1, 0.2),
    "MCP(0.1)": jr.MCP(0.1),
    "MCP(0.1, gamma=2.0)": jr.MCP(0.1, 2.0),
    "MinMaxNorm(min=0.5, max=1.0)": jr.MinMaxNorm(0.5, 1.0),
    "UnitNorm()": jr.UnitNorm(),
    "UnitNorm(axis=0)": jr.UnitNorm(0),
    "SpectralSphere(1.0)": jr.SpectralSphere(),
    "SpectralSphere(2.0, fast=True)": jr.SpectralSphere(2.0, fast=True),
    "NMSparse(n=2, m=4)": jr.NMSparse(2, 4),
    "SpectralNorm(1.0, fast=True)": jr.SpectralNorm(1.0, fast=True),
    "Intersection(MaxNorm(1.0), NonNeg())": jr.Intersection(jr.MaxNorm(1.0), jr.NonNeg()),
    "Intersection(MaxNorm(1.0), Box(low=-1.0, high=1.0), axis=1)": jr.Intersection(
        jr.MaxNorm(1.0), jr.Box(-1.0, 1.0), axis=1
    ),
}


def made(node):
    """The object that a call in source text makes, its names looked up in jaxreg."""
    if isinstance(node, ast.Call) and node.func.id != "float":
        named = {keyword.arg: made(keyword.value) for keyword in node.keywords}
        return getattr(jr, node.func.id)(*map(made, node.args), **named)
    return float(node.args[0].value) if isinstance(node, ast.Call) else ast.literal_eval(node)


@pytest.mark.parametrize("text", WRITTEN)
def test_a_rule_prints_as_the_code_that_makes_its_equal(text):
    rule = WRITTEN[text]
    assert repr(rule) == text
    again = made(ast.parse(text, mode="eval").body)
    assert again == rule
    assert hash(again) == hash(rule)
    assert str(jax.tree.structure(again)) == str(jax.tree.structure(rule))


@pytest.mark.parametrize("number", [np.float32(0.1), jnp.float32(0.1), np.float64(0.1), jnp.asarray(0.1)], ids=repr)
def test_numbers_print_in_the_digits_of_their_precision(number):
    assert repr(jr.L2(number)) == "L2(0.1)"


def test_limits_that_act_by_default_are_printed():
    kernel = {"kernel": jnp.ones((2, 3))}
    expected = {
        "keras.MaxNorm(2.0)": jr.keras.MaxNorm(),
        "keras.MinMaxNorm(min=0.0, max=1.0, rate=1.0)": jr.keras.MinMaxNorm(),
        "keras.OrthogonalRegularizer(0.01)": jr.keras.OrthogonalRegularizer(),
        "keras.UnitNorm()": jr.keras.UnitNorm(),
    }
    for text, rule in expected.items():
        assert repr(rule) == text
        assert f" {text} " in str(jr.explain(kernel, rule))


def test_what_has_no_code_prints_shortly():
    schedule = optax.linear_schedule(0.0, 1.0, 5)
    assert repr(jr.MaxNorm(jnp.ones(500))) == "MaxNorm(array of (500,))"
    assert repr(jr.L1(schedule)) == "L1(schedule)"
    shown = []
    jax.jit(lambda limit: shown.append(repr(jr.MaxNorm(limit))))(jnp.float32(1.0))
    assert shown == ["MaxNorm(float32[])"]


def test_rules_with_arrays_compare_and_hash_by_value():
    one, same, other = (jr.MaxNorm(jnp.array(limits)) for limits in ([1.0, 2.0], [1.0, 2.0], [1.0, 3.0]))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != jr.MaxRMS(jnp.array([1.0, 2.0]))
    assert one != jr.MaxNorm(1.0)
    assert len({one, same, other, jr.MaxNorm(1.0), jr.MaxNorm(np.float64(1.0))}) == 3
    assert jr.ToReference(jr.L2(1.0), jnp.ones(2)) == jr.ToReference(jr.L2(1.0), jnp.ones(2))


def test_a_traced_rule_equals_itself_alone():
    def same(limit):
        rule = jr.MaxNorm(limit)
        return jnp.array([rule == rule, rule == jr.MaxNorm(1.0)])

    np.testing.assert_array_equal(jax.jit(same)(1.0), [True, False])


@pytest.mark.parametrize("value", [[0.1], (0.1, 0.2)], ids=str)
def test_a_list_is_refused_where_it_is_given(value):
    with pytest.raises(
        TypeError, match=r"L1: strength is the (list|tuple) [\[(]0\.1.*; expected a number of at least 0"
    ):
        jr.L1(value)


INTERVALS = {
    "[0, inf)": (jr.L1, [0, 1e9], [-1e-9, np.inf, np.nan], "a number of at least 0, not infinite"),
    "(0, inf]": (jr.MaxNorm, [1e-9, np.inf], [0, -1, np.nan], "a number above 0"),
    "[0, 1]": (jr.Sparse, [0, 1], [-0.1, 1.1, np.nan], "a number of at least 0 and at most 1"),
    "(-inf, inf)": (jr.SumTo, [-1e9, 1e9], [np.inf, -np.inf, np.nan], "a number, not infinite"),
}


@pytest.mark.parametrize("interval", INTERVALS)
def test_numbers_outside_of_an_interval_are_refused(interval):
    make, inside, outside, expected = INTERVALS[interval]
    for value in inside:
        make(value)
        make(np.array([value, inside[0]]))
    for value in outside:
        for given in (value, np.array([inside[0], value])):
            with pytest.raises(ValueError, match=rf"is {value:g}; expected {expected}$"):
                make(given)


@pytest.mark.parametrize("every", [np.int32(2), np.uint8(2), 2])
def test_whole_numbers_of_numpy_are_whole_numbers(every):
    tx, w = jr.project({".*": jr.NonNeg()}, every=every), jnp.array([-1.0])
    state, seen = tx.init(w), []
    for _ in range(2):
        updates, state = tx.update(jnp.zeros(1), state, w)
        w = w + updates
        seen.append(float(w[0]))
    assert seen == [-1.0, 0.0]


@pytest.mark.parametrize("every", [True, 0, 2.0, "2", None])
def test_what_is_no_whole_number_is_refused(every):
    with pytest.raises(ValueError, match=rf"`every` is {every!r}; expected a whole number of at least 1"):
        jr.project(jr.NonNeg(), every=every)


# What users of Keras write, and the same here.
FROM_KERAS = [
    (jr.L1, {"l1": 0.5}, {"strength": 0.5}),
    (jr.L2, {"l2": 0.5}, {"strength": 0.5}),
    (jr.Orthogonal, {"factor": 0.5, "mode": "rows"}, {"strength": 0.5}),
    (jr.MaxNorm, {"max_value": 3}, {"limit": 3}),
    (jr.keras.MaxNorm, {"max_value": 3, "axis": 0}, {"limit": 3}),
    (jr.MinMaxNorm, {"min_value": 0.5, "max_value": 1.0, "rate": 0.9}, {"min": 0.5, "max": 1.0}),
    (jr.keras.MinMaxNorm, {"min_value": 0.5, "max_value": 1.0}, {"min": 0.5, "max": 1.0}),
]


@pytest.mark.parametrize(("rule", "given", "here"), FROM_KERAS)
def test_an_argument_of_keras_is_refused_with_its_name_here(rule, given, here):
    with pytest.raises(TypeError) as caught:
        rule(**given)
    names = set(inspect.signature(rule).parameters)
    unknown = ", ".join(f"{name}={value!r}" for name, value in given.items() if name not in names)
    keras = [name for name in given if name not in {*names, "mode"}]
    advice = [f"{mine}={value} for Keras's {name}" for (mine, value), name in zip(here.items(), keras, strict=True)]
    said = str(caught.value)
    assert said.startswith(f"{rule.__name__} got {unknown}; expected {rule.__name__}(")
    assert said.endswith(f"Write {' and '.join(advice)}")
    rule(**here)


# Names of strengths that belong to another penalty: no advice, because it would name the wrong one.
OF_ANOTHER = [(jr.L1, "l2"), (jr.L2, "l1"), (jr.GroupLasso, "l1"), (jr.GroupLasso, "l2"), (jr.MCP, "l1")]


@pytest.mark.parametrize(("rule", "name"), OF_ANOTHER)
def test_the_strength_of_another_penalty_is_not_taken_for_ones_own(rule, name):
    with pytest.raises(TypeError, match=rf"^{rule.__name__} got {name}=0.5; expected {rule.__name__}\(") as caught:
        rule(**{name: 0.5})
    assert "Keras" not in str(caught.value)


def rules():
    """Every public class of a penalty or a constraint."""
    public = [getattr(home, name) for home in (jr, jr.keras) for name in home.__all__]
    return [each for each in public if isinstance(each, type) and issubclass(each, Penalty | Constraint)]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: f"{rule.__module__}.{rule.__name__}")
def test_every_rule_says_which_arguments_it_takes(rule):
    with pytest.raises(TypeError, match=rf"^{rule.__name__} got volume=3; expected {rule.__name__}\((.*)\)$") as caught:
        rule(volume=3)
    for name in inspect.signature(rule).parameters:
        assert re.search(rf"[(*, ]{name}[=,)]", str(caught.value)), name


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: f"{rule.__module__}.{rule.__name__}")
def test_every_rule_says_which_arguments_are_missing_or_too_many(rule):
    parameters = inspect.signature(rule).parameters.values()
    required = [each.name for each in parameters if each.default is each.empty and each.kind is not each.VAR_POSITIONAL]
    for count in range(len(required)):
        gone = " and ".join(f"no {name}" for name in required[count:])
        with pytest.raises(TypeError, match=rf"^{rule.__name__} got {gone}; expected {rule.__name__}\(.*\)$"):
            rule(*[0.5] * count)
    for name in required[1:]:
        gone = " and ".join(f"no {other}" for other in required if other != name)
        with pytest.raises(TypeError, match=f"^{rule.__name__} got {gone};"):
            rule(**{name: 0.5})
    if not any(each.kind is each.VAR_POSITIONAL for each in parameters):
        many = [3.0] * (len(parameters) + 1)
        with pytest.raises(TypeError, match=rf"^{rule.__name__} got {', '.join(map(str, many))}; expected"):
            rule(*many)


NAMES = {
    "jaxreg.l2": "; use jaxreg.L2",
    "jaxreg.l1_l2": "; use jaxreg.L1L2",
    "jaxreg.max_norm": "; use jaxreg.MaxNorm",
    "jaxreg.OrthogonalRegularizer": "; use jaxreg.keras.OrthogonalRegularizer",
    "jaxreg.sweep": "; use jaxreg.lab.sweep",
    "jaxreg.MaxNrom": "; did you mean jaxreg.MaxNorm?",
    "jaxreg.regularizers": "",
    "jaxreg.initializers": "",
    "jaxreg.optimizers": "",
    "jaxreg.regularise": "; did you mean jaxreg.regularize?",
    "jaxreg.qwerty": "",
    "jaxreg.activity_regularizer": "",
    "jaxreg._l2": "",
    "jaxreg.keras.L2": "; use jaxreg.L2",
    "jaxreg.keras.max_norm": "; use jaxreg.keras.MaxNorm",
    "jaxreg.keras.Adam": "; use jaxreg.keras.adam",
    "jaxreg.keras.MaxNorn": "; did you mean jaxreg.keras.MaxNorm?",
    "jaxreg.keras.SGD": "; it has AdamState, MaxNorm, MinMaxNorm, OrthogonalRegularizer, UnitNorm, adam, adamw",
    "jaxreg.keras.constraints": "; it has AdamState, MaxNorm, MinMaxNorm, OrthogonalRegularizer, UnitNorm, adam, adamw",
    "jaxreg.keras.initializers": (
        "; it has AdamState, MaxNorm, MinMaxNorm, OrthogonalRegularizer, UnitNorm, adam, adamw"
    ),
    "jaxreg.keras.regularizers": (
        "; it has AdamState, MaxNorm, MinMaxNorm, OrthogonalRegularizer, UnitNorm, adam, adamw"
    ),
    "jaxreg.keras.get": "; it has AdamState, MaxNorm, MinMaxNorm, OrthogonalRegularizer, UnitNorm, adam, adamw",
    "jaxreg.constraints.max_norm": "; use jaxreg.constraints.MaxNorm",
    "jaxreg.penalties.l1_l2": "; use jaxreg.penalties.L1L2",
    "jaxreg.penalties.max_norm": "; use jaxreg.MaxNorm",
    "jaxreg.rules.explane": "; did you mean jaxreg.rules.explain?",
    "jaxreg.transforms.Project": "; use jaxreg.transforms.project",
    "jaxreg.diagnostics.unit_norm": "; use jaxreg.UnitNorm",
    "jaxreg.lab.L2": "; use jaxreg.L2",
    "jaxreg.lab.Sweep": "; use jaxreg.lab.sweep",
}


@pytest.mark.parametrize("path", NAMES)
def test_an_unknown_name_is_refused_with_the_closest_one(path):
    module, _, name = path.rpartition(".")
    with pytest.raises(AttributeError) as caught:
        getattr(import_module(module), name)
    assert str(caught.value) == f"module {module!r} has no attribute {name!r}{NAMES[path]}"


@pytest.mark.parametrize("name", ["a.b", "max norm", ""])
def test_what_is_no_name_is_an_unknown_name(name):
    assert not hasattr(jr, name)


def test_python_adds_no_suggestion_of_its_own():
    ran = subprocess.run([sys.executable, "-c", "import jaxreg; jaxreg.max_norm"], capture_output=True, text=True)
    assert ran.stderr.endswith("module 'jaxreg' has no attribute 'max_norm'; use jaxreg.MaxNorm\n")


def test_a_submodule_that_is_not_yet_imported_is_refused_with_its_import():
    program = "import jaxreg as jr; print(hasattr(jr, 'lab')); jr.lab"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout == "False\n"
    assert ran.stderr.endswith("module 'jaxreg' has no attribute 'lab'; import jaxreg.lab first\n")
