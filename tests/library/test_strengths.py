"""The converter between the meanings of a strength, against trainings that take each meaning at its word."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg import Meaning, convert_strength

PEAK, STEPS, WIDTH = 0.05, 40, 64
START, TARGET = np.array([2.0, -1.0, 0.3]), np.array([1.0, 1.0, -0.5])

# What one step of gradient descent on ½‖w - target‖² at the learning rate `rate` makes of w, in each meaning.
STEP = {
    Meaning.SQUARES: lambda w, s, rate: w - rate * ((w - TARGET) + s * 2 * w),  # the slope of s · Σw²
    Meaning.HALF_SQUARES: lambda w, s, rate: w - rate * ((w - TARGET) + s * w),
    Meaning.LR_SCALED: lambda w, s, rate: w - rate * (w - TARGET) - rate * s * w,
    Meaning.INDEPENDENT: lambda w, s, rate: w - rate * (w - TARGET) - rate / PEAK * s * w,
    Meaning.NORMALISED: lambda w, s, rate: w - rate * (w - TARGET) - rate / PEAK * s / np.sqrt(STEPS) * w,
    Meaning.CORRECTED: lambda w, s, rate: w - rate * (w - TARGET) - rate**2 / PEAK * s * w,
    Meaning.SQUARED_LR: lambda w, s, rate: w - rate * (w - TARGET) - rate**2 * s * w,
    Meaning.WIDTH_SCALED: lambda w, s, rate: w - rate * (w - TARGET) - rate * np.sqrt(WIDTH) * s * w,
    Meaning.TIME_SCALE: lambda w, s, rate: w - rate * (w - TARGET) - w / s,
    Meaning.HALF_LIFE: lambda w, s, rate: 2 ** (-1 / s) * w - rate * (w - TARGET),
    Meaning.ROTATION: lambda w, s, rate: w - rate * (w - TARGET) - s**2 / 2 * w,
}
GIVEN = {"peak": PEAK, "steps": STEPS, "width": WIDTH}


def end(meaning: Meaning, strength: float) -> np.ndarray:
    w = START
    for _ in range(STEPS):
        w = STEP[meaning](w, strength, PEAK)
    return w


@pytest.mark.parametrize(("have", "want"), list(product(Meaning, Meaning)), ids=lambda m: m.name)
def test_converted_strengths_train_alike(have, want):
    strength = 30.0 if have in (Meaning.TIME_SCALE, Meaning.HALF_LIFE) else 0.3
    converted = convert_strength(strength, have, want, **GIVEN)
    np.testing.assert_allclose(end(want, converted), end(have, strength), rtol=1e-11)
    back = convert_strength(converted, want, have, **GIVEN)
    np.testing.assert_allclose(back, strength, rtol=1e-12)


def test_weights_shrink_by_half_in_a_half_life_and_by_e_in_a_time_scale():
    share = convert_strength(10.0, Meaning.HALF_LIFE, Meaning.INDEPENDENT)
    np.testing.assert_allclose((1 - share) ** 10, 0.5)
    share = convert_strength(1e6, Meaning.TIME_SCALE, Meaning.INDEPENDENT)
    np.testing.assert_allclose((1 - share) ** 1e6, np.exp(-1), rtol=1e-5)


def test_in_equilibrium_adamw_turns_weights_by_the_rotation():
    # Of random gradients: ‖w‖² = η C / 2λ, and a step of length η √C at a right angle (Kosson et al.).
    rate, decay, dim, rng = 0.01, 0.1, 400, np.random.default_rng(0)
    w, m, v, angles = 0.22 * rng.normal(size=dim), np.zeros(dim), np.zeros(dim), []
    for step in range(1, 3001):
        g = rng.normal(size=dim)
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        before = w
        w = w - rate * (m / (1 - 0.9**step) / np.sqrt(v / (1 - 0.99**step)) + decay * w)
        angles.append(np.linalg.norm(w - before) / np.linalg.norm(w))
    share = convert_strength(decay, Meaning.LR_SCALED, Meaning.ROTATION, peak=rate)
    # Momentum makes single steps shorter by √((1 - β) / (1 + β)), and later ones point the same way.
    np.testing.assert_allclose(np.mean(angles[1000:]) / np.sqrt(0.1 / 1.9), share, rtol=0.1)


def test_traced_strengths_are_converted():
    law = jax.jit(lambda s: convert_strength(s, Meaning.LR_SCALED, Meaning.HALF_LIFE, peak=PEAK))
    expected = convert_strength(np.array([0.1, 0.3]), Meaning.LR_SCALED, Meaning.HALF_LIFE, peak=PEAK)
    np.testing.assert_allclose(law(jnp.array([0.1, 0.3])), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="strength is 0; expected a number above 0"):
        convert_strength(0.0, Meaning.LR_SCALED, Meaning.HALF_LIFE, peak=PEAK)


def test_arrays_are_converted_as_a_whole():
    found = convert_strength(np.array([0.0, 0.01]), Meaning.LR_SCALED, Meaning.SQUARES)
    np.testing.assert_array_equal(found, [0.0, 0.005])


@pytest.mark.parametrize(
    ("want", "given", "missing"),
    [
        (Meaning.INDEPENDENT, {}, "peak"),
        (Meaning.NORMALISED, {"peak": 0.1}, "steps"),
        (Meaning.WIDTH_SCALED, {}, "width"),
        (Meaning.HALF_LIFE, {}, "peak"),
    ],
)
def test_what_is_needed_is_named(want, given, missing):
    with pytest.raises(ValueError, match=f"{missing} is missing, but required to convert LR_SCALED to {want.name}"):
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
