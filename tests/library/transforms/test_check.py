"""`check` against NumPy's account of every order of two to four links: a wrong one is reported, a right one is not."""

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr

RATE, STRENGTH, LIMIT = 0.1, 0.05, 1.0
RNG = np.random.default_rng(0)
START, GRADIENTS = RNG.normal(size=(3, 2)), RNG.normal(size=(3, 3, 2))
PARAMS = {"kernel": jnp.zeros((3, 2))}
LINKS = {
    "penalize": jr.penalize(jr.L2(STRENGTH)),
    "decay": jr.decay(jr.L1(STRENGTH)),
    "proximal": jr.proximal(jr.L1L2(STRENGTH, 2 * STRENGTH), RATE),
    "project": jr.project(jr.MaxNorm(LIMIT)),
    "adam": optax.adam(RATE),
    "sgd": optax.sgd(RATE),
    "adamw": optax.adamw(RATE, weight_decay=0.01),
    "scale_by_learning_rate": optax.scale_by_learning_rate(RATE),
}
OPTIMISERS = {"adam", "sgd", "adamw", "scale_by_learning_rate"}


class Adam:
    def __init__(self, decay=0.0):
        self.m, self.v, self.t, self.decay = 0.0, 0.0, 0, decay

    def __call__(self, u, w):
        self.t += 1
        self.m, self.v = 0.9 * self.m + 0.1 * u, 0.999 * self.v + 0.001 * u**2
        mean, square = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        return -RATE * (mean / (np.sqrt(square) + 1e-8) + self.decay * w)


def by_hand(name):
    """A link as a function of (update, weights), in float64."""
    return {
        "penalize": lambda u, w: u + 2 * STRENGTH * w,
        "decay": lambda u, w: u + STRENGTH * np.sign(w),
        "proximal": lambda u, w: (
            np.sign(w + u) * np.maximum(np.abs(w + u) - RATE * STRENGTH, 0) / (1 + 4 * RATE * STRENGTH) - w
        ),
        "project": lambda u, w: (w + u) * np.minimum(1, LIMIT / np.linalg.norm(w + u, axis=0)) - w,
        "adam": Adam(),
        "adamw": Adam(0.01),
    }.get(name, lambda u, w: -RATE * u)


def path(names, start, gradients):
    links, w, points = [by_hand(name) for name in names], start, []
    for u in gradients:
        for link in links:
            u = link(u, w)
        w = w + u
        points.append(w)
    return np.array(points)


def in_order(names):
    """The path of penalty, optimiser with decay beside it, proximal step, projection; one optimiser."""
    (optimiser,) = OPTIMISERS & set(names)
    before, step, w, points = "penalize" in names, by_hand(optimiser), START, []
    for u in GRADIENTS:
        u = step(u + before * 2 * STRENGTH * w, w) - ("decay" in names) * RATE * STRENGTH * np.sign(w)
        for name in ("proximal", "project"):
            u = by_hand(name)(u, w) if name in names else u
        w = w + u
        points.append(w)
    return np.array(points)


def holds_zeros(optimiser):
    """Whether weights at 0 stay there if L1 is stronger than the gradient: the optimality condition of the lasso."""
    w = path((optimiser, "proximal"), 0 * START, [STRENGTH / 10 * np.sign(START)] * 2)
    return not w.any()


def is_right(names):
    """Whether one optimiser goes downhill, each penalty shrinks weights, and the constraint is met behind the chain.

    Only `penalize` and `adamw` shrink in the same way. A proximal step holds weights at 0.
    """
    if {"penalize", "adamw"} <= set(names):
        return False
    if "proximal" in names and not all(map(holds_zeros, OPTIMISERS & set(names))):
        return False
    bare = [name for name in names if name in OPTIMISERS]
    g = GRADIENTS[0]
    if len(bare) > 1 or np.sum((path(bare, START, [g]) - path(bare, START, [-g])) * g) >= 0:
        return False
    for name in set(names) & {"penalize", "decay", "proximal"}:
        only = [n for n in names if n in OPTIMISERS or n == name]
        pull = [path(only, START, [u, u])[-1] - path(bare, START, [u, u])[-1] for u in (0 * g, g)]
        if np.sum(pull[0] * START) >= 0:
            return False
        beside = [path(only, START, [u])[0] - path(bare, START, [u])[0] for u in (0 * g, g)]
        if name == "decay" and not np.allclose(*beside, rtol=1e-6):
            return False
    far = [path(names, sign * START, GRADIENTS[:2])[-1] for sign in (100, -100)]
    return "project" not in names or all((np.linalg.norm(w, axis=0) < LIMIT + 1e-6).all() for w in far)


def holds(names):
    faults = jr.check(optax.chain(*(LINKS[name] for name in names)), PARAMS)
    assert bool(faults) != is_right(names), (names, faults)
    rescaled = "proximal" in names and bool({"adam", "adamw"} & set(names))
    if len(OPTIMISERS & set(names)) == 1 and not (
        {"proximal", "project"} <= set(names) or {"penalize", "adamw"} <= set(names) or rescaled
    ):
        assert bool(faults) != np.allclose(path(names, START, GRADIENTS), in_order(names), rtol=1e-9), (names, faults)


@pytest.mark.parametrize("first", LINKS)
def test_every_order_of_two_and_three_links_is_reported_or_right(first):
    for length in (2, 3):
        for names in permutations(LINKS, length):
            if names[0] == first:
                holds(names)


@pytest.mark.slow
@pytest.mark.parametrize("first", LINKS)
def test_every_order_of_four_links_is_reported_or_right(first):
    for names in permutations(LINKS, 4):
        if names[0] == first:
            holds(names)


@pytest.mark.parametrize("links", [("sgd", "adam", "adamw"), ("adam", "scale_by_learning_rate", "sgd")])
def test_a_third_optimiser_whose_sign_cancels_is_reported(links):
    tx = optax.chain(optax.chain(*(LINKS[name] for name in links[:2])), LINKS[links[2]])
    (fault,) = jr.check(tx, PARAMS)
    assert fault.startswith("The updates change their sign 3 times")
    single = optax.chain(optax.clip(1.0), optax.scale_by_adam(), optax.trace(0.9), optax.scale(-RATE))
    assert jr.check(single, PARAMS) == []


def test_there_are_right_and_wrong_orders():
    right = [names for length in (2, 3, 4) for names in permutations(LINKS, length) if is_right(names)]
    assert ("penalize", "adam", "project") in right
    assert ("adam", "decay") not in right
    assert 40 < len(right) < 400


def test_rules_are_checked_beside_the_links():
    tx = optax.adam(RATE)
    (fault,) = jr.check(tx, PARAMS, {"kernel": jr.MaxNorm(1.0)})
    assert "MaxNorm" in fault
    assert "'kernel'" in fault
    (fault,) = jr.check(tx, PARAMS, jr.L2(0.1))
    assert "does not lower the penalty of 'kernel'" in fault
    regularised = jr.regularize(tx, RATE, decays=jr.L2(0.1), constraints=jr.MaxNorm(1.0))
    assert jr.check(regularised, PARAMS, jr.MaxNorm(1.0)) == []
    assert jr.check(regularised, PARAMS, jr.L2(0.1)) == []


def test_projecting_now_and_then_and_partly_is_right():
    every = optax.chain(optax.sgd(RATE), jr.project(jr.MaxNorm(1.0), every=3))
    assert jr.check(every, PARAMS) == []
    partly = optax.chain(optax.sgd(RATE), jr.project(jr.MinMaxNorm(0.5, 1.0, rate=0.5)))
    assert jr.check(partly, PARAMS) == []


@pytest.mark.parametrize("rate", [0.01, 0.5, optax.linear_schedule(0.1, 0.5, 10)])
def test_a_constraint_that_goes_part_of_the_way_is_reported_where_it_goes_nowhere(rate):
    partly = jr.MinMaxNorm(0.5, 1.0, rate=rate)
    for right in (
        optax.chain(optax.adam(RATE), jr.project(partly)),
        jr.regularize(optax.adam(RATE), constraints=partly),
    ):
        assert jr.check(right, PARAMS) == []
    (fault,) = jr.check(optax.chain(jr.project(partly), optax.adam(RATE)), PARAMS)
    assert "for 'kernel' does not come nearer to its limits through the chain: put jaxreg.project last" in fault
    (fault,) = jr.check(optax.adam(RATE), PARAMS, partly)
    assert "'kernel' does not come nearer" in fault


@pytest.mark.parametrize(("strength", "overshoots"), [(0.45, False), (0.95, False), (1.05, True), (300.0, True)])
def test_a_decay_that_overshoots_is_reported(strength, overshoots):
    # w - η 2 s w is -c w with c > 1 if η s > 1.
    tx = jr.regularize(optax.sgd(RATE), RATE, decays={"kernel": jr.L2(strength / RATE)})
    assert [fault.partition(",")[0] for fault in jr.check(tx, PARAMS)] == ["jaxreg.decay overshoots"] * overshoots


def test_a_penalty_that_is_no_square_does_not_overshoot_because_random_weights_are_large():
    params = {"kernel": jnp.zeros((64, 64))}
    assert jr.check(jr.regularize(optax.sgd(0.1), 0.1, decays=jr.Orthogonal(0.01)), params) == []
    assert jr.check(jr.regularize(optax.sgd(0.1), 0.1, decays=jr.L1(0.01)), params) == []


def test_a_rate_with_a_schedule_is_read_at_the_steps_of_its_link():
    partly = jr.MinMaxNorm(0.5, 1.0, rate=optax.linear_schedule(0.01, 1.0, 8))
    waiting = optax.MultiSteps(jr.regularize(optax.adam(RATE), constraints={"kernel": partly}), 4)
    assert jr.check(waiting.gradient_transformation(), PARAMS) == []
    folded = jr.Reshaped(jr.MinMaxNorm(0.5, 1.0, rate=0.1), shape=(2, -1))
    assert jr.check(jr.regularize(optax.sgd(RATE), constraints={"kernel": folded}), {"kernel": jnp.zeros((4, 2))}) == []
    slower = jr.regularize(optax.sgd(RATE), constraints=jr.MinMaxNorm(0.5, 1.0, rate=0.1))
    assert jr.check(slower, PARAMS, jr.MinMaxNorm(0.5, 1.0, rate=0.5)) == []


def test_an_error_of_a_rule_is_not_taken_for_a_line_search():
    def rule(w, *, limit):
        return w

    with pytest.raises(TypeError, match="'limit'") as caught:
        jr.check(optax.chain(optax.sgd(RATE), jr.project({"kernel": rule})), PARAMS)
    assert "line search" not in str(caught.value)


@pytest.mark.parametrize("tx", [optax.lbfgs(), optax.chain(optax.sgd(RATE), optax.contrib.reduce_on_plateau())])
def test_an_optimiser_that_needs_the_loss_is_refused_in_one_sentence(tx):
    with pytest.raises(TypeError, match=r"optimiser, because it needs more .*'value'.* Check your chain with"):
        jr.check(jr.regularize(tx, penalties=jr.L2(0.1)), PARAMS)


def test_a_chain_that_takes_all_updates_away_moves_nothing():
    tx = optax.chain(optax.masked(jr.penalize({"kernel": jr.L2(0.1)}), {"kernel": True}), optax.set_to_zero())
    (fault,) = jr.check(optax.chain(tx, optax.sgd(RATE)), PARAMS)
    assert "moves no weight" in fault


def test_nothing_is_left_behind_by_a_dry_run():
    tx = optax.chain(optax.sgd(RATE), jr.project(jr.MaxNorm(1.0)))
    jr.check(tx, PARAMS)
    params = {"kernel": jnp.full((3, 2), 5.0)}
    updates, _ = tx.update({"kernel": jnp.zeros((3, 2))}, tx.init(params), params)
    assert (np.linalg.norm(optax.apply_updates(params, updates)["kernel"], axis=0) <= 1).all()


WAITING = {
    "warm-up from 0": optax.sgd(optax.linear_schedule(0.0, RATE, 5)),
    "adopt": optax.contrib.adopt(RATE),
    "schedule-free": optax.contrib.schedule_free_sgd(RATE, warmup_steps=3),
    "sharpness-aware": optax.contrib.sam(optax.sgd(RATE), optax.sgd(0.05), sync_period=3),
}


@pytest.mark.parametrize("name", WAITING)
def test_an_optimiser_that_waits_or_climbs_first_is_right_unless_its_links_are_in_a_wrong_order(name):
    slow = WAITING[name]
    right = optax.chain(jr.penalize(jr.L2(STRENGTH)), slow, jr.project(jr.MaxNorm(LIMIT), every=2))
    assert jr.check(right, PARAMS, jr.MaxNorm(LIMIT)) == []
    (fault,) = jr.check(optax.chain(slow, jr.decay(jr.L2(STRENGTH))), PARAMS)
    assert "makes the weights of 'kernel' grow" in fault


def test_an_optimiser_that_waits_and_then_climbs_is_reported():
    (fault,) = jr.check(optax.chain(WAITING["warm-up from 0"], optax.scale(-1.0)), PARAMS)
    assert "uphill" in fault


def test_accumulated_steps_are_checked_where_they_are_made():
    links = jr.penalize(jr.L2(STRENGTH)), optax.sgd(RATE), jr.project(jr.MaxNorm(LIMIT))
    right, wrong = (optax.MultiSteps(optax.chain(*order), 2) for order in (links, (links[1], links[0], links[2])))
    assert jr.check(right.gradient_transformation(), PARAMS, jr.MaxNorm(LIMIT)) == []
    (fault,) = jr.check(wrong.gradient_transformation(), PARAMS)
    assert "jaxreg.penalize makes the weights of 'kernel' grow" in fault


@pytest.mark.parametrize("strength", [1e-6, 1e-2, 1.0])
def test_decay_beside_an_optimiser_that_makes_zeros_is_right(strength):
    inner = jr.proximal_adam(jr.L1(strength), RATE)
    tx = jr.regularize(inner, RATE, decays=jr.L2(STRENGTH), constraints=jr.MaxNorm(LIMIT))
    assert jr.check(tx, {"kernel": jnp.ones((3, 2))}) == []


def warm(peak, steps):
    return optax.warmup_cosine_decay_schedule(0.0, peak, steps, 10 * steps)


@pytest.mark.parametrize("rate", [warm(1e-2, 5000), warm(3e-4, 2000), 1e-7])
def test_a_right_chain_is_right_at_rates_too_small_for_float32(rate):
    """At 1e-7, decay changes a weight of 1 by 5e-10, and float32 has no number between 1 and 1 - 6e-8."""
    chain = jr.regularize(optax.adam(rate), learning_rate=rate, decays=jr.L2(0.005), constraints=jr.MaxNorm(2.0))
    assert jr.check(chain, PARAMS) == []


def test_decay_of_weights_that_the_optimiser_decays_is_reported():
    def around(penalty, **options):
        return jr.regularize(optax.adamw(RATE, **options), learning_rate=RATE, decays={"kernel": penalty})

    params = PARAMS | {"bias": jnp.zeros(2)}
    (fault,) = jr.check(around(jr.L2(STRENGTH)), params)
    assert fault.startswith("jaxreg.decay and the optimiser's own decay, as in optax.adamw, shrink the weights of 'ker")
    assert jr.check(around(jr.L2(STRENGTH), mask={"kernel": False, "bias": True}), params) == []
    assert jr.check(around(jr.L1(STRENGTH)), params) == []


ADAM = optax.adam(RATE)
L1, L2 = jr.L1(STRENGTH), jr.L2(STRENGTH)
BOTH = jr.L1L2(STRENGTH, STRENGTH / 100)


def towards(before, after):
    """Steps towards the points of a ball, which shrink the weights as a decay does."""
    step = jr.conditional_gradient(jr.MaxNorm(1.0))
    return optax.chain(before, optax.ema(0.9, debias=False), step, after, optax.scale_by_learning_rate(RATE))


@pytest.mark.parametrize(
    ("tx", "words"),
    [
        (jr.regularize(optax.adamw(RATE), penalties=L2), "jaxreg.penalize and the optimiser's own"),
        (jr.regularize(ADAM, RATE, penalties=L2, decays=L2), "jaxreg.decay and jaxreg.penalize"),
        (jr.regularize(ADAM, RATE, proximals=L1, decays=L1), "jaxreg.proximal and jaxreg.decay"),
        (jr.regularize(ADAM, RATE, penalties=L2, decays=L1), ""),
        (jr.regularize(optax.adamw(RATE, mask={"one": False}), penalties=L2), ""),
        (jr.regularize(optax.adamw(RATE), penalties=L1), ""),
        (jr.regularize(optax.adamw(RATE), penalties=BOTH), "jaxreg.penalize and the optimiser's own"),
        (jr.regularize(jr.keras.adamw(RATE), penalties={".*": BOTH}), "jaxreg.penalize and the optimiser's own"),
        (jr.regularize(optax.adamw(RATE), RATE, decays=BOTH), "jaxreg.decay and the optimiser's own"),
        (jr.regularize(optax.adamw(RATE), RATE, proximals=BOTH), "jaxreg.proximal and the optimiser's own"),
        (jr.regularize(optax.adamw(RATE), penalties=jr.GroupLasso(STRENGTH)), ""),
        (jr.regularize(optax.adamw(RATE), penalties=jr.Huber(STRENGTH, 1.0)), ""),
        (jr.regularize(optax.adamw(RATE), penalties=jr.NormTarget(STRENGTH, 1.0)), ""),
        (jr.regularize(optax.adamw(RATE), penalties=jr.to_reference({"one": {"kernel": np.ones((1, 1))}}, BOTH)), ""),
        (towards(jr.penalize(L2), optax.identity()), ""),
        (towards(optax.identity(), jr.decay(L2)), "jaxreg.decay and jaxreg.conditional_gradient"),
    ],
)
def test_weights_that_are_regularised_twice_in_the_same_way_are_reported(tx, words):
    faults = jr.check(tx, {"one": {"kernel": jnp.zeros((1, 1))}})  # all directions of one weight are the same
    assert [fault.startswith(words) and "'one/kernel' in the same way" in fault for fault in faults] == [True] * bool(
        words
    )


WARM = optax.linear_schedule(0.0, RATE, 5)


@pytest.mark.parametrize(
    ("optimiser", "rate", "own"),
    [
        (ADAM, 0.02, 0.1),
        (ADAM, RATE, None),
        (optax.adam(WARM), RATE, 0.02),  # the first step that moves has a fifth of the rate
        (optax.adam(WARM), WARM, None),
        (optax.chain(optax.clip_by_global_norm(1e-3), optax.sgd(RATE)), RATE, None),
        (optax.chain(optax.scale_by_adam(), optax.scale(RATE), optax.scale(-1.0)), 0.02, 0.1),
        (optax.sgd(RATE, 0.9, nesterov=True), RATE, None),
        (optax.adafactor(RATE), RATE, None),
        (jr.keras.adam(RATE), 0.02, None),  # not an Optax chain
    ],
)
@pytest.mark.parametrize("kind", ["decays", "proximals"])
def test_a_learning_rate_that_is_not_the_optimisers_is_reported(optimiser, rate, own, kind):
    faults = jr.check(jr.regularize(optimiser, rate, **{kind: L2}), PARAMS)
    given = 0.02 if rate == 0.02 else RATE
    step = 2 if optimiser is not ADAM and own == 0.02 else 1
    expected = f"jaxreg.regularize got a learning rate of {given:g} in step {step}, and that of the optimiser is {own}:"
    assert [fault.startswith(expected) for fault in faults] == [True] * (own is not None)


FOUR = {name: {"kernel": jnp.zeros((3, 2))} for name in "abcd"}
OF_SEVERAL = [
    (optax.chain(optax.sgd(RATE), jr.penalize(L2)), None, "makes the weights of 'a/kernel' and 3 others grow"),
    (jr.regularize(optax.adamw(RATE), penalties=L2), None, "shrink the weights of 'a/kernel' and 3 others in the same"),
    (optax.chain(ADAM, jr.proximal(L1, RATE)), None, "does not hold the weights of 'a/kernel' and 3 others at 0"),
    (ADAM, L2, "does not lower the penalty of 'a/kernel' and 3 others: "),
    (ADAM, {"[cd].*": L2}, "does not lower the penalty of 'c/kernel' and 1 other: "),
    (ADAM, {"b/kernel": jr.MaxNorm(1.0)}, "for 'b/kernel' does not hold after the chain: "),
    (
        ADAM,
        jr.MaxNorm(1.0),
        "for 'a/kernel' does not hold after the chain, nor do the constraints of 3 others: ",
    ),
    (
        ADAM,
        {"a.*": jr.MaxNorm(1.0), "[^a].*": jr.TreeNorm(1.0)},
        "for 'a/kernel' does not hold after the chain, nor do the constraints of 3 others: ",
    ),
]


@pytest.mark.parametrize(("tx", "given", "words"), OF_SEVERAL)
def test_a_fault_of_several_weights_says_how_many(tx, given, words):
    (fault,) = jr.check(tx, FOUR, given)
    assert words in fault


def test_an_optimiser_that_does_not_move_yet_is_one_fault():
    still = optax.join_schedules([optax.constant_schedule(0.0), optax.constant_schedule(RATE)], [40])
    (fault,) = jr.check(jr.regularize(optax.adam(still), still, decays=L1, constraints=jr.MaxNorm(1.0)), PARAMS)
    assert fault.startswith("The optimiser moves no weight in the first 32 steps")


def test_an_optimiser_that_wraps_a_chain_is_refused():
    with pytest.raises(
        TypeError, match=r"`tx` is dict; expected an optax\.GradientTransformation.* pass the attribute tx"
    ):
        jr.check({}, PARAMS)


def matrices_only(updates, state, params=None):
    assert all(u.ndim == 2 for u in jax.tree.leaves(updates))
    return jax.tree.map(lambda u: -RATE * u, updates), state


SMALL = {"kernel": 0.02 * np.random.default_rng(5).normal(size=(4, 3)), "bias": np.zeros(3)}


@pytest.mark.parametrize(
    "tx",
    [
        optax.partition(
            {
                "m": jr.regularize(
                    optax.GradientTransformation(lambda params: (), matrices_only), RATE, decays={"kernel": jr.L2(0.1)}
                ),
                "a": ADAM,
            },
            {"kernel": "m", "bias": "a"},
        ),
        jr.regularize(optax.sgd(np.array([0.1, 0.2, 0.3])), np.array([0.1, 0.2, 0.3]), decays={"kernel": jr.L2(0.1)}),
        jr.regularize(optax.adamw(1e-3), 1e-3, decays=jr.to_reference(SMALL, jr.L2(0.1))),
        jr.regularize(optax.fromage(RATE), RATE, proximals={"kernel": jr.L1(0.1)}),
    ],
    ids=["a part of the weights", "a rate per unit", "to a point near 0", "a rate that the optimiser corrects"],
)
def test_what_is_right_is_not_reported(tx):
    assert jr.check(tx, {"kernel": jnp.ones((4, 3)), "bias": jnp.zeros(3)}) == []


@pytest.mark.parametrize("kind", ["decays", "proximals", "penalties"])
def test_optimisers_in_a_row_are_reported_behind_any_rules(kind):
    tx = jr.regularize(optax.chain(optax.sgd(0.5), optax.sgd(0.5), optax.sgd(0.5)), 0.125, **{kind: L1})
    assert "change their sign 3 times" in " ".join(jr.check(tx, PARAMS))


def test_a_pattern_without_a_leaf_is_refused_though_nothing_moves():
    with pytest.raises(ValueError, match="nothere"):
        jr.check(optax.set_to_zero(), PARAMS, {"nothere": jr.L1(0.1)})


REFERENCE = np.ones((3, 2))


@pytest.mark.parametrize("rule", [jr.L1(1e-4), jr.L1(0.1), jr.GroupLasso(0.1), jr.MCP(0.1), jr.Nuclear(0.1)])
@pytest.mark.parametrize(
    "optimiser",
    [
        ADAM,
        optax.rmsprop(RATE),
        optax.lion(RATE),
        optax.chain(optax.clip(1.0), optax.adam(WARM)),
        optax.MultiSteps(ADAM, 2).gradient_transformation(),
    ],
    ids=["adam", "rmsprop", "lion", "warm-up", "accumulation"],
)
def test_a_proximal_step_after_an_optimiser_that_rescales_small_gradients_is_reported(rule, optimiser):
    (fault,) = jr.check(optax.chain(optimiser, jr.proximal({"kernel": rule}, RATE)), PARAMS | {"bias": jnp.zeros(2)})
    assert fault.startswith("jaxreg.proximal does not hold the weights of 'kernel' at 0")
    try:
        wanted = jr.proximal_adam({"kernel": rule}, RATE)
        wanted.update(jax.tree.map(jnp.ones_like, PARAMS), wanted.init(PARAMS), PARAMS)
    except ValueError:
        assert "use an optimiser such as optax.sgd" in fault
    else:
        assert "use jaxreg.proximal_adam, or an optimiser such as optax.sgd" in fault


def test_a_proximal_step_with_another_learning_rate_than_gradient_descent_is_reported():
    (fault,) = jr.check(optax.chain(optax.sgd(RATE), jr.proximal(L1, RATE / 1000)), PARAMS)
    assert fault.endswith("give jaxreg.proximal the learning rate of the optimiser")


@pytest.mark.parametrize("strength", [1e-6, 1e-4, 0.1, 10.0])
@pytest.mark.parametrize(
    "optimiser",
    [
        optax.sgd(RATE),
        optax.sgd(RATE, 0.99),
        optax.sgd(RATE, 0.9, nesterov=True),
        optax.noisy_sgd(RATE, key=0),
        optax.chain(optax.clip_by_global_norm(1e-3), optax.sgd(RATE)),
        optax.MultiSteps(optax.sgd(RATE), 3).gradient_transformation(),
        optax.inject_hyperparams(optax.sgd)(WARM),
    ],
    ids=["sgd", "momentum", "nesterov", "noise", "clipping", "accumulation", "hyperparams"],
)
def test_a_proximal_step_after_gradient_descent_is_not_reported(strength, optimiser):
    for rule in (jr.L1(strength), jr.GroupLasso(strength), jr.L1L2(strength, strength)):
        assert jr.check(optax.chain(optimiser, jr.proximal(rule, RATE)), PARAMS) == []


@pytest.mark.parametrize("rule", [jr.L2(STRENGTH), jr.to_reference({"kernel": REFERENCE}, jr.L2(STRENGTH))])
def test_a_smooth_proximal_step_after_adam_is_not_reported(rule):
    """It is the proximal form of AdamW, and sets no weight to 0."""
    assert jr.check(jr.regularize(ADAM, RATE, proximals=rule), PARAMS) == []


@pytest.mark.parametrize("rule", [L1, jr.GroupLasso(STRENGTH)])
def test_proximal_adam_is_not_reported(rule):
    assert jr.check(jr.proximal_adam(rule, RATE), PARAMS) == []
    assert jr.check(jr.regularize(jr.proximal_adam(rule, RATE), constraints=jr.MaxNorm(LIMIT)), PARAMS) == []


def test_a_scheduled_proximal_step_after_adam_is_reported():
    scheduled = jr.L1(optax.constant_schedule(0.01))
    (fault,) = jr.check(optax.chain(ADAM, jr.proximal(scheduled, RATE)), PARAMS)
    assert "use jaxreg.proximal_adam, or an optimiser such as optax.sgd" in fault
