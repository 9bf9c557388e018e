"""Rules of a user's own, which derive from no class of the package: everything takes them, and does what NumPy does."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import brentq

import jaxreg as jr

RNG = np.random.default_rng(7)
W = RNG.normal(size=(3, 5, 4)).astype(np.float32)  # a stack of three layers from 5 inputs to 4 units
STACK = {"kernel": jnp.asarray(W), "bias": jnp.zeros((3, 4))}
LAYER = {"kernel": jnp.asarray(W[0]), "bias": jnp.zeros(4)}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Ball:
    """Constraint: the Euclidean norm of each group is at most `limit`."""

    limit: float
    axis: int | tuple[int, ...] | None = dataclasses.field(default=None, metadata={"static": True})
    shell = ball = True

    def __call__(self, w):
        return w * jnp.minimum(1, self.limit / jnp.linalg.norm(w, axis=self.axis, keepdims=True))

    def lmo(self, direction):
        return -self.limit * direction / jnp.linalg.norm(direction, axis=self.axis, keepdims=True)

    def norm_limits(self, w):
        return 0.0, self.limit


@dataclasses.dataclass(frozen=True)
class Centred:
    """Constraint: the mean of a layer's weights is 0."""

    axis: int | tuple[int, ...] | None = None
    matrix = True

    def __call__(self, w):
        return w - jnp.mean(w)

    def lmo(self, direction):
        return -jnp.sign(direction - jnp.mean(direction))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Spread:
    """Penalty: strength · Σ (w - the mean of its group)²."""

    strength: float
    axis: int | tuple[int, ...] | None = dataclasses.field(default=None, metadata={"static": True})

    def __call__(self, w):
        return self.strength * jnp.sum((w - jnp.mean(w, self.axis, keepdims=True)) ** 2)

    def prox(self, w, step):
        mean = jnp.mean(w, self.axis, keepdims=True)
        return mean + (w - mean) / (1 + 2 * step * self.strength)


class Whole:
    """Penalty that is no dataclass: strength · (the sum of a layer's weights)²."""

    matrix = True
    axis = None

    def __init__(self, strength):
        self.strength = strength

    def with_axis(self, axis):
        return self

    def __call__(self, w):
        return self.strength * jnp.sum(w) ** 2

    def prox(self, w, step):
        return w - jnp.sum(w) * 2 * step * self.strength / (1 + 2 * step * self.strength * w.size)


def shortened(w, limit, axis):
    return w * np.minimum(1, limit / np.linalg.norm(w, axis=axis, keepdims=True))


def after(tx, params, gradient):
    """The kernel after one step of `tx` behind plain gradient descent, compiled."""
    tx = optax.chain(optax.sgd(0.1), tx)
    step = jax.jit(lambda params, grads: optax.apply_updates(params, tx.update(grads, tx.init(params), params)[0]))
    return step(params, {"kernel": gradient, "bias": jnp.zeros_like(params["bias"])})["kernel"]


@pytest.mark.parametrize(("params", "axis"), [(LAYER, 0), (STACK, 1)], ids=["layer", "stack"])
def test_a_constraint_is_projected_onto_over_the_axes_of_its_leaf(params, axis):
    w, gradient = np.asarray(params["kernel"]), RNG.normal(size=params["kernel"].shape).astype(np.float32)
    wanted = shortened(w - 0.1 * gradient, 1.5, axis)
    np.testing.assert_allclose(after(jr.project({jr.KERNELS: Ball(1.5)}), params, gradient), wanted, atol=1e-6)
    (_, row) = jr.explain(params, {jr.KERNELS: Ball(1.5)})
    assert (row.axes, row.norms) == ((axis,), w.size // 5)
    far = np.linalg.norm(w - shortened(w, 1.5, axis), axis=axis).max()
    np.testing.assert_allclose(jr.violation(params, Ball(1.5)), far, rtol=1e-5)


def test_limits_may_be_scheduled_and_vary_under_vmap():
    limits = np.array([0.5, 1.0, 2.0], np.float32)
    ends = jax.jit(jax.vmap(lambda limit: jr.projected(LAYER, Ball(limit))["kernel"]))(limits)
    np.testing.assert_allclose(ends, [shortened(W[0], limit, 0) for limit in limits], atol=1e-6)
    fallen = jr.projected(LAYER, Ball(optax.linear_schedule(2.0, 1.0, 10)), step=5)["kernel"]
    np.testing.assert_allclose(fallen, shortened(W[0], 1.5, 0), atol=1e-6)


def test_a_constraint_on_a_layer_works_on_each_of_a_stack():
    gradient = RNG.normal(size=W.shape).astype(np.float32)
    ends = after(jr.project(Centred()), STACK, gradient)
    moved = W - 0.1 * gradient
    np.testing.assert_allclose(ends, moved - moved.mean((1, 2), keepdims=True), atol=1e-6)
    np.testing.assert_allclose(jr.projected(LAYER, Centred())["kernel"], W[0] - W[0].mean(), atol=1e-6)


def test_an_intersection_with_bounds_is_exact():
    ends = jax.jit(lambda params: jr.projected(params, jr.Intersection(Ball(1.0), jr.NonNeg())))(STACK)["kernel"]
    np.testing.assert_allclose(ends, shortened(np.maximum(W, 0), 1.0, 1), atol=1e-6)
    # With a box the nearest point is clip(t w) for the t at which its norm is the limit.
    ends = jr.projected(LAYER, jr.Intersection(Ball(1.0), jr.Box(-0.5, 0.8)))["kernel"]
    for end, w in zip(np.asarray(ends).T, W[0].T.astype(float), strict=True):
        t = brentq(lambda t, w=w: np.linalg.norm(np.clip(t * w, -0.5, 0.8)) - 1, 1e-3, 50)
        np.testing.assert_allclose(end, np.clip(min(t, 1) * w, -0.5, 0.8), atol=1e-5)


@pytest.mark.parametrize("params", [LAYER, STACK], ids=["layer", "stack"])
def test_an_intersection_of_any_convex_sets_is_found_by_rounds(params):
    rules = jr.Intersection(Centred(), lambda w: jnp.clip(w, -0.2, 0.4))
    ends = jax.jit(lambda params: jr.projected(params, rules))(params)["kernel"]
    for end, w in zip(ends.reshape(-1, 5, 4), W.astype(float), strict=False):
        shift = brentq(lambda t, w=w: np.clip(w - t, -0.2, 0.4).sum(), -5, 5)
        np.testing.assert_allclose(end, np.clip(w - shift, -0.2, 0.4), atol=1e-4)


@pytest.mark.parametrize("axis", [None, 0])
def test_steepest_descent_takes_its_farthest_point(axis):
    gradient = RNG.normal(size=W[0].shape).astype(np.float32)
    tx = jr.steepest({"kernel": Ball(0.5, axis=axis)})
    updates, _ = jax.jit(tx.update)({**LAYER, "kernel": gradient}, tx.init(LAYER), LAYER)
    np.testing.assert_allclose(updates["kernel"], 0.5 * gradient / np.linalg.norm(gradient, axis=0), rtol=1e-5)


def test_farthest_points_of_a_stack_are_those_of_its_layers():
    gradient = RNG.normal(size=W.shape).astype(np.float32)
    tx = jr.steepest({"kernel": Centred()})
    updates, _ = tx.update({**STACK, "kernel": gradient}, tx.init(STACK), STACK)
    np.testing.assert_array_equal(updates["kernel"], np.sign(gradient - gradient.mean((1, 2), keepdims=True)))


@pytest.mark.parametrize(("params", "axis"), [(LAYER, 0), (STACK, 1)], ids=["layer", "stack"])
def test_a_penalty_has_its_cost_gradient_and_proximal_step(params, axis):
    w, gradient = np.asarray(params["kernel"], float), RNG.normal(size=params["kernel"].shape).astype(np.float32)
    rules = {jr.KERNELS: Spread(0.3)}
    away = w - w.mean(axis, keepdims=True)
    np.testing.assert_allclose(jr.penalty(params, rules), 0.3 * np.sum(away**2), rtol=1e-5)
    coupled = optax.chain(jr.penalize(rules), optax.sgd(1.0))
    updates, _ = coupled.update(jax.tree.map(jnp.zeros_like, params), coupled.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.6 * away, atol=1e-5)
    z = np.asarray(after(jr.proximal(rules, 0.1), params, gradient), float)
    # 0 is the gradient of the cost times the step, plus z less where the step led to.
    np.testing.assert_allclose(z + 0.06 * (z - z.mean(axis, keepdims=True)), w - 0.1 * gradient, atol=1e-5)


@pytest.mark.parametrize("params", [LAYER, STACK], ids=["layer", "stack"])
def test_a_penalty_that_is_no_dataclass_works_on_each_layer(params):
    w = np.asarray(params["kernel"], float).reshape(-1, 5, 4)
    np.testing.assert_allclose(jr.penalty(params, Whole(0.2)), 0.2 * np.sum(w.sum((1, 2)) ** 2), rtol=1e-5)
    z = np.asarray(after(jr.proximal(Whole(0.2), 0.5), params, jnp.zeros_like(params["kernel"])), float)
    z = z.reshape(-1, 5, 4)
    np.testing.assert_allclose(z + 0.2 * z.sum((1, 2), keepdims=True), w, atol=1e-5)


def test_what_a_rule_lacks_is_said():
    with pytest.raises(TypeError, match=r"Spread.*kernel has no method lmo; expected a constraint on a bounded set"):
        after(jr.steepest(Spread(0.1)), LAYER, LAYER["kernel"])
    for params in (LAYER, STACK):
        with pytest.raises(TypeError, match=r"kernel has no proximal step; expected a penalty with a method prox"):
            after(jr.proximal(Centred(), 0.1), params, params["kernel"])


def test_a_bare_function_is_enough():
    ends = jr.projected(LAYER, lambda w: jnp.maximum(w, 0))["kernel"]
    np.testing.assert_array_equal(ends, np.maximum(W[0], 0))
    np.testing.assert_allclose(jr.penalty(LAYER, lambda w: jnp.sum(w**4)), np.sum(W[0] ** 4), rtol=1e-5)


PENALTY, CONSTRAINT = {jr.KERNELS: jr.L2(1.0)}, {jr.KERNELS: jr.MaxNorm(1.0)}
WRONG = {
    "project": lambda: jr.project(PENALTY),
    "steepest": lambda: jr.steepest(jr.L1(1.0)),
    "conditional_gradient": lambda: jr.conditional_gradient(PENALTY),
    "projected": lambda: jr.projected(LAYER, PENALTY),
    "apply_updates": lambda: jr.apply_updates(LAYER, LAYER, PENALTY),
    "feasible": lambda: jr.feasible(LAYER, PENALTY),
    "violation": lambda: jr.violation(LAYER, jr.Nuclear(1.0)),
    "diagnostics.violations": lambda: jr.diagnostics.violations(LAYER, PENALTY),
    "diagnostics.at_limit": lambda: jr.diagnostics.at_limit(LAYER, PENALTY),
    "diagnostics.moves": lambda: jr.diagnostics.moves(LAYER, PENALTY),
    "penalty": lambda: jr.penalty(LAYER, CONSTRAINT),
    "penalize": lambda: jr.penalize(CONSTRAINT),
    "decay": lambda: jr.decay(jr.Intersection(jr.NonNeg(), jr.MaxNorm(1.0))),
    "proximal": lambda: jr.proximal(CONSTRAINT, 0.1),
    "proximal_adam": lambda: jr.proximal_adam(CONSTRAINT, 0.1),
    "bregman": lambda: jr.bregman(CONSTRAINT),
    "bounded": lambda: jr.bounded(CONSTRAINT, jr.FixedBound(1.0)),
    "diagnostics.penalties": lambda: jr.diagnostics.penalties(LAYER, CONSTRAINT),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_other_kind_is_refused_where_it_is_passed(name):
    kinds = r"(a penalty; expected a constraint|a constraint; expected a penalty)\. Pass a \w+ to jaxreg\.\w+"
    rule = r"the rule( for (jaxreg\.KERNELS|kernel))? is \w+\(.*\)"
    with pytest.raises(TypeError, match=rf"jaxreg\.{name}: {rule}, {kinds}"):
        WRONG[name]()


def test_the_other_kind_is_no_part():
    with pytest.raises(TypeError, match=r"Intersection: a part is L2\(.*\), a penalty; expected a constraint"):
        jr.Intersection(jr.NonNeg(), jr.L2(1.0))
    with pytest.raises(TypeError, match=r"ToReference: penalty is NonNeg\(\), a constraint; expected a penalty"):
        jr.ToReference(jr.NonNeg(), jnp.zeros(3))
