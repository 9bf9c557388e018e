"""Rules where Keras 3 calls and stores them: variables with their paths, and layers' regularisers and constraints.

Keras itself is not installed here. `Variable` has what its variables on the JAX backend have: a dtype that is a string,
the array under `value` and `__jax_array__`, and the path.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr


class Variable:
    def __init__(self, path, value):
        self.path, self.value = path, jnp.asarray(value)
        self.dtype, self.shape = str(self.value.dtype), self.value.shape

    def __jax_array__(self):
        return self.value


KERNEL = np.array([[3.0, 0.3], [4.0, 0.4]], np.float32)
VARIABLES = [Variable("model/dense/kernel", KERNEL), Variable("model/dense/bias", np.ones(2, np.float32))]


def test_constraint_and_regulariser_of_a_layer_take_its_variable():
    np.testing.assert_allclose(jr.MaxNorm(1.0)(VARIABLES[0]), [[0.6, 0.3], [0.8, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(jr.L2(0.1)(VARIABLES[0]), 2.525, rtol=1e-6)
    np.testing.assert_allclose(jr.NonNeg()(VARIABLES[1]), [1, 1])


@pytest.mark.parametrize("rule", [jr.MaxNorm(1.5, axis=(0, 1)), jr.MaxNorm(np.array([1.0, 2.0])), jr.L1L2(0.1, 0.2)])
def test_configuration(rule):
    config = rule.get_config()
    assert type(rule).from_config(config) == rule
    name = config.pop("from_jaxreg")
    assert name.rpartition(".")[2] == type(rule).__name__
    assert all(isinstance(value, float | list | tuple | None) for value in config.values())
    assert type(rule).from_config(config) == rule  # as saved by jaxreg 0.1


def test_a_configuration_is_of_one_of_two_classes_with_the_same_name():
    with pytest.raises(TypeError, match=r"saved as jaxreg.keras.MaxNorm, .* Use jaxreg.keras.MaxNorm in custom_obj"):
        jr.MaxNorm.from_config(jr.keras.MaxNorm(1.0).get_config())
    assert jr.keras.MaxNorm.from_config(jr.keras.MaxNorm(1.0).get_config()) == jr.keras.MaxNorm(1.0)

    class Own(jr.MaxNorm):
        """A subclass, which may be found in another module when it is loaded."""

    assert "from_jaxreg" not in Own(1.0).get_config()
    assert Own.from_config(jr.MaxNorm(1.0).get_config()) == Own(1.0)


@pytest.mark.parametrize("rule", [jr.MaxNorm(lambda step: 1.0), jr.Intersection(jr.MaxNorm(1.0), jr.NonNeg())])
def test_what_a_configuration_cannot_hold(rule):
    with pytest.raises(
        TypeError,
        match=r"can't be saved with a Keras layer, because its argument `(limit|parts)` contains",
    ):
        rule.get_config()


@pytest.mark.parametrize("params", [VARIABLES, {v.path: v for v in VARIABLES}, {v.path: v.value for v in VARIABLES}])
def test_paths_of_variables_are_patterns(params):
    rules = {"model/dense/kernel": jr.MaxNorm(1.0), jr.BIASES: jr.Box(0.0, 0.5)}
    rows = {row.path: (row.axes, row.source) for row in jr.explain(params, rules)}
    assert rows == {"model/dense/kernel": ((0,), "name"), "model/dense/bias": (None, None)}
    assert not jr.feasible(params, rules)
    np.testing.assert_allclose(jr.penalty(params, jr.L2(0.1)), 2.525, rtol=1e-6)
    kernel = jax.tree.map(jnp.asarray, params["model/dense/kernel"] if isinstance(params, dict) else params[0])
    np.testing.assert_allclose(kernel, KERNEL)


def test_a_chain_on_a_list_of_variables():
    tx = optax.chain(optax.sgd(0.1), jr.project(jr.MaxNorm(1.0)))
    updates, _ = tx.update([jnp.ones((2, 2)), jnp.ones(2)], tx.init(VARIABLES), VARIABLES)
    np.testing.assert_allclose(np.linalg.norm(KERNEL + updates[0], axis=0), [1.0, np.hypot(0.2, 0.3)], rtol=1e-6)


def test_a_list_of_values_has_no_paths():
    with pytest.raises(ValueError, match=r"The existing paths are: 0, 1 \(a list has no names; for Keras, pass"):
        jr.explain([v.value for v in VARIABLES], jr.MaxNorm(1.0))


def test_a_penalty_is_no_constraint_and_a_list_no_rule():
    with pytest.raises(TypeError, match=r"model/dense/kernel is L2.* a penalty; expected a constraint"):
        jr.feasible(VARIABLES, {jr.KERNELS: jr.L2(1.0)})
    with pytest.raises(TypeError, match=r"Combine several constraints with jaxreg.Intersection"):
        jr.project({jr.KERNELS: [jr.MaxNorm(1.0), jr.NonNeg()]}).init(VARIABLES)
