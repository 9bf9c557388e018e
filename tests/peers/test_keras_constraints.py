"""Cases of Keras's `constraints_test.py` (3.15.1), on drawn arrays. A test has the name of the case."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
from helpers.exams import agree, close, drawn
from keras import constraints

import jaxreg as jr

SUITE = "Keras: constraints"
NOT_IN_SCOPE = {
    "test_get_method": "names of rules as text",
    "test_default_constraint_call": "a base class that can be called",
    "test_constraint_get_config": "a base class that can be called",
    "test_constraint_from_config": "a base class that can be called",
}
WIDE = drawn(scale=20.0)


def both_agree(ours, exact, theirs, weights=WIDE, **tolerance):
    """`ours` has Keras's ε, which moves weights by 1e-7 of a norm; `exact` has none."""
    for rule in (ours, exact):
        agree(rule, theirs, weights, **tolerance)


def copies(rule):
    """A rule after each way to store it and to take it apart."""
    leaves, structure = jax.tree.flatten(rule)
    written = eval(repr(rule), {name: getattr(jr, name) for name in jr.__all__})
    return [pickle.loads(pickle.dumps(rule)), jax.tree.unflatten(structure, leaves), written]


def copies_agree(rule, theirs):
    restored = type(theirs).from_config(theirs.get_config())
    for copy in [rule, *copies(rule)]:
        assert copy == rule
        close(jax.jit(copy)(WIDE[0]), restored(WIDE[0]), 3e-6)


def test_max_norm():
    both_agree(jr.keras.MaxNorm(2.0), jr.MaxNorm(2.0), constraints.MaxNorm(2.0), drawn(scale=0.5))
    columns = np.float32([[0, 0, 0], [1, 0, 0], [3, 0, 0], [3, 3, 3]]).T
    close(jr.keras.MaxNorm(2.0)(columns), constraints.MaxNorm(2.0)(columns), 3e-7)
    close(jr.MaxNorm(2.0)(columns), constraints.MaxNorm(2.0)(columns), 3e-6)


def test_non_neg():
    agree(jr.NonNeg(), constraints.NonNeg(), WIDE)


def test_unit_norm():
    both_agree(jr.keras.UnitNorm(), jr.UnitNorm(), constraints.UnitNorm())


def test_min_max_norm():
    for low, high, rate in ((0.2, 0.5, 1.0), (100.0, 200.0, 1.0), (0.2, 0.5, 0.7)):
        theirs = constraints.MinMaxNorm(low, high, rate)
        both_agree(jr.keras.MinMaxNorm(low, high, rate), jr.MinMaxNorm(low, high, rate), theirs)


def test_max_norm_get_config():
    copies_agree(jr.keras.MaxNorm(3.0, axis=1), constraints.MaxNorm(3.0, axis=1))
    copies_agree(jr.MaxNorm(3.0, axis=1), constraints.MaxNorm(3.0, axis=1))


def test_unit_norm_get_config():
    copies_agree(jr.keras.UnitNorm(axis=1), constraints.UnitNorm(axis=1))
    copies_agree(jr.UnitNorm(axis=1), constraints.UnitNorm(axis=1))


def test_min_max_norm_get_config():
    theirs = constraints.MinMaxNorm(0.5, 2.0, rate=0.7, axis=1)
    copies_agree(jr.keras.MinMaxNorm(0.5, 2.0, rate=0.7, axis=1), theirs)
    copies_agree(jr.MinMaxNorm(0.5, 2.0, rate=0.7, axis=1), theirs)


def test_non_neg_get_config():
    assert constraints.NonNeg().get_config() == {}
    assert jax.tree.leaves(jr.NonNeg()) == []


def test_non_neg_from_config():
    assert all(isinstance(copy, jr.NonNeg) for copy in copies(jr.NonNeg()))


def test_non_neg_serialization_roundtrip():
    copies_agree(jr.NonNeg(), constraints.NonNeg())


def same_numbers(value):
    weights = jnp.full((5, 5), value)
    np.testing.assert_array_equal(jr.NonNeg()(weights), constraints.NonNeg()(weights))


def test_non_neg_zeroes_negatives():
    same_numbers(-3.0)


def test_non_neg_preserves_positives():
    same_numbers(3.0)


def test_non_neg_all_zeros_input():
    same_numbers(0.0)
