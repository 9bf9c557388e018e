"""The kernel of many steps against the plain loop, its operations run one by one; and what it leaves to that loop.

Nothing here has seen a GPU: the kernel is lowered for one, and runs on none.
"""

import dataclasses
from contextlib import nullcontext
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh

import jaxreg as jr
from jaxreg.lab import CNN, MLP, Data, Problem, Recipe, binary_cross_entropy, fit, linen, squared_error
from jaxreg.lab.datasets import moons
from jaxreg.lab.training import gpu as fused
from jaxreg.rules._matching import leaves

HIDDEN, OUTPUT = "hidden/kernel", "output/kernel"
STEPS = 100


def data(rows, features=2, weights=False):
    drawn = moons([1], train=rows, test=4)
    more = np.random.default_rng(0).normal(size=(1, rows, features - 2)).astype(np.float32)
    counts = np.linspace(0, 2, rows, dtype=np.float32)[None] if weights else None
    return Data(np.concatenate([drawn.x_train, more], -1), drawn.y_train, drawn.x_test, drawn.y_test, w_train=counts)


def problem(hidden, rows=30, features=2, weights=False, **changes):
    given = data(rows, features, weights)
    given = given._replace(x_test=given.x_train, y_test=given.y_train)
    defaults = {"batch_size": 128, "record_every": STEPS // 2, "loss": binary_cross_entropy, "metrics": {}}
    return Problem(linen(MLP(hidden), (features,)), given, STEPS, **(defaults | changes))


# Rows in blocks, the last of them not full, and units that fill no power of two; a rule of each kind, on units and on
# whole leaves.
CASES = {
    "penalties": (
        problem(40),
        lambda s: Recipe(penalties={HIDDEN: jr.L1(s), OUTPUT: jr.L2(s), jr.BIASES: jr.L1L2(s / 2, s)}),
    ),
    "limits": (
        problem(20, rows=33, features=3, weights=True),
        lambda s: Recipe(
            constraints={HIDDEN: jr.MinMaxNorm(100 * s, 200 * s, rate=0.5), "output/.*": jr.MaxNorm(100 * s)},
            learning_rate=10 * s,
        ),
    ),
    "equalities": (
        problem(20, loss=squared_error),
        lambda s: Recipe(
            penalties={OUTPUT: jr.L2(s)},
            constraints={
                HIDDEN: jr.UnitNorm(),
                OUTPUT: jr.MinMaxNorm(1.0, 1.0),
                "hidden/bias": jr.NonNeg(),
                "output/bias": jr.MinMaxNorm(0.5, 1.0),
            },
        ),
    ),
}
STRENGTHS = jnp.array([1e-3, 5e-3, 2e-2])
QUICKLY = {"xla_backend_optimization_level": 0}  # each program runs once: half the time to compile it


def lanes(lane, problem, make, values):
    """What a population of lanes gives, one value a lane."""
    return jax.jit(jax.vmap(partial(lane, problem, make)), compiler_options=QUICKLY)(values, jnp.arange(len(values)))


def fused_lane(problem, make, strength, seed, interpret=True):
    """The weights and the epoch of divergence after all steps, taken by the kernel span by span."""
    recipe, params = make(strength), problem.model.init(jax.random.split(jax.random.key(seed))[0])
    given = jax.tree.map(lambda array: jnp.asarray(array)[0], problem.data)
    carry = params, recipe.transformation().init(params), jnp.full((), -1, jnp.int32)
    assert fused.applies(problem, recipe, params)
    train = partial(fused.train, problem, recipe, given, interpret=interpret)
    carry, _ = jax.lax.scan(lambda carry, last: (train(carry, last), None), carry, jnp.asarray(problem.recorded[1:]))
    return {f"params/{leaf.path}": leaf.array for leaf in leaves(carry[0])}, carry[2], carry[1]


def plain_lane(problem, make, strength, seed):
    found = fit(problem, make(strength), jax.random.key(seed), keep=True)
    return {name: value for name, value in found.items() if name.startswith("params")}, found["diverged_at"]


@pytest.mark.parametrize("name", CASES)
def test_kernel_takes_the_steps_of_the_plain_loop(name):
    problem, make = CASES[name]
    found, _, state = lanes(fused_lane, problem, make, STRENGTHS)
    expected, _ = lanes(plain_lane, problem, make, STRENGTHS)
    for path, weights in expected.items():
        error, size = jnp.linalg.norm(found[path] - weights), jnp.linalg.norm(weights)
        assert error <= 1e-5 * size, f"{path}: {error / size:.1e}"
    constraints = make(STRENGTHS[0]).constraints
    if constraints is not None:
        first = {"hidden": {}, "output": {}}
        for path, weights in found.items():
            _, layer, leaf = path.split("/")
            first[layer][leaf] = weights[0]
        assert jr.violation(first, constraints) <= (1e-6 if name == "equalities" else 0.05)
    counts = [leaf for leaf in jax.tree.leaves(state) if leaf.dtype == jnp.int32]
    assert all((count == STEPS).all() for count in counts)
    assert counts


def test_kernel_tells_when_a_lane_diverges():
    small = problem(20)
    make = lambda rate: Recipe(learning_rate=rate)  # noqa: E731
    rates = jnp.array([1e-3, 1e30, jnp.inf])
    found, expected = (lanes(lane, small, make, rates)[1] for lane in (fused_lane, plain_lane))
    assert found.tolist() == expected.tolist()
    assert found[0] == -1
    assert (found[1:] > 0).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of JAX 0.11, about Pallas's Triton
def test_kernel_lowers_for_a_gpu_where_there_is_none():
    pytest.importorskip("jax.experimental.pallas.triton")
    which = nullcontext()
    if jax.__version_info__ >= (0, 11):
        gpu = AbstractDevice("NVIDIA H100 80GB HBM3", None, "gpu")
        which = use_abstract_mesh(AbstractMesh((), (), abstract_device=gpu))
    with which:
        for case in CASES.values():
            lanes = jax.jit(jax.vmap(partial(fused_lane, *case, interpret=False))).trace(STRENGTHS, jnp.arange(3))
            text = lanes.lower(lowering_platforms=("cuda",)).as_text()
            assert "__gpu$xla.gpu.triton" in text
            assert "grid_x = 3 : i32" in text  # a program a lane


WITH = lambda **changes: Recipe(**changes)  # noqa: E731
PLAIN = {
    "a schedule of the rate": (problem(20), WITH(learning_rate=optax.constant_schedule(1e-3))),
    "a schedule of a strength": (problem(20), WITH(penalties={HIDDEN: jr.L2(optax.constant_schedule(1e-3))})),
    "a limit a unit": (problem(20), WITH(constraints={HIDDEN: jr.MaxNorm(jnp.ones((1, 20)))})),
    "a limit an input": (problem(20), WITH(constraints={HIDDEN: jr.MaxNorm(1.0, axis=1)})),
    "another optimiser": (problem(20), WITH(optimizer=optax.adam)),
    "a decay": (problem(20), WITH(decays={HIDDEN: jr.L2(1e-3)})),
    "a proximal step": (problem(20), WITH(proximals={HIDDEN: jr.L1(1e-3)})),
    "another penalty": (problem(20), WITH(penalties={HIDDEN: jr.GroupLasso(1e-3)})),
    "another constraint": (problem(20), WITH(constraints={HIDDEN: jr.Box(-1.0, 1.0)})),
    "batches": (problem(20, batch_size=8), WITH()),
    "another loss": (problem(20, loss=lambda outputs, y: (outputs[:, 0] - y) ** 2), WITH()),
    "too many units": (problem(5000), WITH()),
    "another net": (
        dataclasses.replace(problem(20), model=linen(MLP(20, outputs=2), (2,)), loss=lambda outputs, y: outputs[:, 0]),
        WITH(),
    ),
    "another activation": (
        dataclasses.replace(
            problem(20),
            model=(plain := linen(MLP(20), (2,)))._replace(apply=lambda params, x: jnp.tanh(plain.apply(params, x))),
        ),
        WITH(),
    ),
    "a convolution": (dataclasses.replace(problem(20), model=linen(CNN(filters=(4,)), (8, 8, 1))), WITH()),
}


@pytest.mark.parametrize("name", PLAIN)
def test_kernel_leaves_to_the_plain_loop(name):
    problem, recipe = PLAIN[name]
    params = jax.eval_shape(problem.model.init, jax.random.key(0))
    assert not fused.applies(problem, recipe, params)


def test_a_cpu_trains_by_the_plain_loop():
    small = problem(20)
    text = jax.jit(partial(fit, small, Recipe())).lower(jax.random.key(0)).as_text()
    assert "triton" not in text
