"""The converter between the meanings of a strength, against trainings that take each meaning at its word."""

from itertools import product

import numpy as np
import pytest

from jaxreg import Meaning, convert_strength

PEAK, STEPS = 0.05, 40
START, TARGET = np.array([2.0, -1.0, 0.3]), np.array([1.0, 1.0, -0.5])

# What one step of gradient descent on ½‖w - target‖² at the learning rate `rate` makes of w, in each meaning.
STEP = {
    Meaning.SQUARES: lambda w, s, rate: w - rate * ((w - TARGET) + s * 2 * w),  # the slope of s · Σw²
    Meaning.HALF_SQUARES: lambda w, s, rate: w - rate * ((w - TARGET) + s * w),
    Meaning.LR_SCALED: lambda w, s, rate: w - rate * (w - TARGET) - rate * s * w,
    Meaning.INDEPENDENT: lambda w, s, rate: w - rate * (w - TARGET) - rate / PEAK * s * w,
    Meaning.NORMALISED: lambda w, s, rate: w - rate * (w - TARGET) - rate / PEAK * s / np.sqrt(STEPS) * w,
    Meaning.CORRECTED: lambda w, s, rate: w - rate * (w - TARGET) - rate**2 / PEAK * s * w,
}


def end(meaning: Meaning, strength: float) -> np.ndarray:
    w = START
    for _ in range(STEPS):
        w = STEP[meaning](w, strength, PEAK)
    return w


@pytest.mark.parametrize(("have", "want"), list(product(Meaning, Meaning)), ids=lambda m: m.name)
def test_converted_strengths_train_alike(have, want):
    converted = convert_strength(0.3, have, want, peak=PEAK, steps=STEPS)
    np.testing.assert_allclose(end(want, converted), end(have, 0.3), rtol=1e-12)
    back = convert_strength(converted, want, have, peak=PEAK, steps=STEPS)
    np.testing.assert_allclose(back, 0.3, rtol=1e-12)


def test_arrays_are_converted_as_a_whole():
    found = convert_strength(np.array([0.0, 0.01]), Meaning.LR_SCALED, Meaning.SQUARES)
    np.testing.assert_array_equal(found, [0.0, 0.005])


@pytest.mark.parametrize(
    ("want", "given", "missing"),
    [(Meaning.INDEPENDENT, {}, "peak"), (Meaning.NORMALISED, {"peak": 0.1}, "steps")],
)
def test_what_is_needed_is_named(want, given, missing):
    with pytest.raises(ValueError, match=f"LR_SCALED to {want.name} got no {missing}"):
        convert_strength(0.1, Meaning.LR_SCALED, want, **given)


@pytest.mark.parametrize("meanings", [("squares", Meaning.SQUARES), (Meaning.SQUARES, None)])
def test_what_is_no_meaning_is_refused(meanings):
    with pytest.raises(
        TypeError, match=r"is ('squares'|None); expected a jaxreg.Meaning, one of SQUARES, HALF_SQUARES"
    ):
        convert_strength(0.1, *meanings)


@pytest.mark.parametrize("name", ["peak", "steps"])
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_what_is_needed_is_above_0(name, value):
    given = {"peak": 0.1, "steps": 10, name: value}
    with pytest.raises(ValueError, match=f"convert_strength: {name} is {value:g}; expected a number above 0"):
        convert_strength(0.1, Meaning.NORMALISED, Meaning.LR_SCALED, **given)
