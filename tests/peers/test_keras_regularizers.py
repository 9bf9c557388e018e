"""Cases of Keras's `regularizers_test.py` (3.15.1), on drawn arrays. A test has the name of the case."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.exams import UNITS, agree, close, drawn
from keras import regularizers
from keras.src.regularizers.regularizers import validate_float_arg

import jaxreg as jr

SUITE = "Keras: regularizers"
NOT_IN_SCOPE = {
    "test_get_method": "names of rules as text",
    "test_validate_float_returns_float_type": "strengths as Python floats; here they are traced",
}
TOTALS = {"narrow": 2e-3}  # sums of rounded weights, in float32 on both sides


def costs_agree(ours, theirs, weights=None):
    weights = drawn() if weights is None else weights
    agree(ours, theirs, weights, **TOTALS)
    close(jax.grad(ours)(weights[0]), jax.grad(lambda w: theirs(w))(weights[0]), 3e-6)


def test_config():
    for ours, theirs in (
        (jr.L1(0.1), regularizers.L1(0.1)),
        (jr.L2(0.1), regularizers.L2(0.1)),
        (jr.L1L2(0.1, 0.2), regularizers.L1L2(0.1, 0.2)),
        (jr.keras.OrthogonalRegularizer(0.1, "rows"), regularizers.OrthogonalRegularizer(0.1, "rows")),
    ):
        restored = type(theirs).from_config(theirs.get_config())
        leaves, structure = jax.tree.flatten(ours)
        copies = [pickle.loads(pickle.dumps(ours)), jax.tree.unflatten(structure, leaves)]
        assert copies == [ours, ours]
        for copy in copies:
            close(copy(drawn()[0]), restored(drawn()[0]), 3e-6)


def test_l1():
    costs_agree(jr.L1(0.1), regularizers.L1(0.1))


def test_l2():
    costs_agree(jr.L2(0.1), regularizers.L2(0.1))


def test_l1_l2():
    costs_agree(jr.L1L2(0.1, 0.2), regularizers.L1L2(0.1, 0.2))


@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_orthogonal_regularizer(mode):
    theirs = regularizers.OrthogonalRegularizer(0.1, mode)
    # Keras cannot normalise the columns of a NumPy array.
    costs_agree(jr.keras.OrthogonalRegularizer(0.1, mode), lambda w: theirs(jnp.asarray(w)))


def test_l1l2_get_config():
    theirs = regularizers.L1L2(0.01, 0.02)
    assert {"l1": jr.L1L2(0.01, 0.02).l1, "l2": jr.L1L2(0.01, 0.02).l2} == pytest.approx(theirs.get_config())


def test_orthogonal_regularizer_mode_validation():
    for make in (jr.keras.OrthogonalRegularizer, regularizers.OrthogonalRegularizer):
        with pytest.raises(ValueError, match="mode"):
            make(0.01, "invalid_mode")


def test_orthogonal_regularizer_input_rank_validation():
    for rule in (jr.keras.OrthogonalRegularizer(0.1), regularizers.OrthogonalRegularizer(0.1)):
        with pytest.raises(ValueError, match=r"\(4, 4, 4\)"):
            rule(drawn(4, 4, 4))


def test_orthogonal_regularizer_get_config():
    config = regularizers.OrthogonalRegularizer(0.01, "columns").get_config()
    rule = jr.keras.OrthogonalRegularizer(0.01, "columns")
    assert (rule.factor, rule.mode) == (pytest.approx(config["factor"]), config["mode"])
    close(jr.keras.OrthogonalRegularizer(**config)(drawn()[0]), rule(drawn()[0]), 1e-6)


ZEROS = np.zeros((8, 4, 8), np.float32)


def test_l1_with_zero_weights():
    agree(jr.L1(0.1), regularizers.L1(0.1), ZEROS)
    np.testing.assert_array_equal(jax.grad(jr.L1(0.1))(ZEROS[0]), 0)
    np.testing.assert_array_equal(jax.grad(regularizers.L1(0.1).__call__)(ZEROS[0]), np.float32(0.1))


def test_l1_with_negative_weights():
    for sign in (1, -1):
        agree(jr.L1(0.1), regularizers.L1(0.1), sign * np.abs(drawn()), **TOTALS)


def test_l1_zero_coefficient():
    costs_agree(jr.L1(0.0), regularizers.L1(0.0))


def test_l2_with_zero_weights():
    agree(jr.L2(0.1), regularizers.L2(0.1), ZEROS)


def test_l2_zero_coefficient():
    costs_agree(jr.L2(0.0), regularizers.L2(0.0))


def ordered(size):
    weights = np.full((4, 4), size, np.float32)
    ours = float(jr.L1(1.0)(weights)), float(jr.L2(1.0)(weights))
    close(ours, [regularizers.L1(1.0)(weights), regularizers.L2(1.0)(weights)], 3e-7)
    return ours


def test_l2_is_larger_than_l1_for_large_weights():
    l1, l2 = ordered(10.0)
    assert l2 > l1


def test_l2_is_smaller_than_l1_for_small_weights():
    l1, l2 = ordered(0.1)
    assert l2 < l1


def test_l1l2_zero_coefficients():
    costs_agree(jr.L1L2(0.0, 0.0), regularizers.L1L2(0.0, 0.0))


def test_l1l2_only_l1():
    costs_agree(jr.L1L2(0.1, 0.0), regularizers.L1L2(0.1, 0.0))
    np.testing.assert_array_equal(jr.L1L2(0.1, 0.0)(drawn()), jr.L1(0.1)(drawn()))


def test_l1l2_only_l2():
    costs_agree(jr.L1L2(0.0, 0.1), regularizers.L1L2(0.0, 0.1))
    np.testing.assert_array_equal(jr.L1L2(0.0, 0.1)(drawn()), jr.L2(0.1)(drawn()))


def test_l1l2_with_zero_weights():
    agree(jr.L1L2(0.1, 0.2), regularizers.L1L2(0.1, 0.2), ZEROS)


# Strengths that Keras accepts are accepted, and strengths that it refuses are refused, by every penalty of its own.

MAKERS = [
    (jr.L1, regularizers.L1),
    (jr.L2, regularizers.L2),
    (lambda strength: jr.L1L2(strength, 0.1), lambda strength: regularizers.L1L2(strength, 0.1)),
    (lambda strength: jr.L1L2(0.1, strength), lambda strength: regularizers.L1L2(0.1, strength)),
    (jr.keras.OrthogonalRegularizer, regularizers.OrthogonalRegularizer),
]


def accepted(*strengths):
    for ours, theirs in MAKERS:
        for strength in strengths:
            close(ours(strength)(drawn(4, UNITS)), theirs(strength)(drawn(4, UNITS)), 3e-6)


def refused(*strengths):
    for strength in strengths:
        with pytest.raises(ValueError, match="expected a non-negative float"):
            validate_float_arg(strength, "strength")
        for ours, _ in MAKERS:
            with pytest.raises((TypeError, ValueError), match="expected a number"):
                ours(strength)


def test_validate_float_with_valid_args():
    accepted(1, 1.0)


def test_validate_float_with_invalid_types():
    refused("not_a_number")


def test_validate_float_with_nan():
    refused(float("nan"))


def test_validate_float_with_inf():
    refused(float("inf"), -float("inf"))


def test_validate_float_with_negative_number():
    refused(-1)


def test_validate_float_with_zero():
    accepted(0, 0.0)


def test_validate_float_with_very_small_positive():
    accepted(1e-10)


def test_validate_float_with_large_positive():
    accepted(1e6)


def test_validate_float_with_negative_float():
    refused(-0.001)


def test_validate_float_with_none():
    refused(None)


def test_validate_float_with_list():
    refused([0.1])
