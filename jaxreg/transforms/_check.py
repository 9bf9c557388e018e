"""Dry run of an optimiser chain. It checks that each transformation (link) in the chain works as intended."""

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, combinations, pairwise
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxreg._hyperparameters import rate_at
from jaxreg._protocols import Constraint, Penalty, Rule, Rules, Tree, facts, innermost
from jaxreg.rules._evaluate import at_rule, distance, grouped, penalty
from jaxreg.rules._matching import leaves, matches
from jaxreg.transforms._base import Link, Watch, Wrapped, refuse_other_leaves

ARGUMENTS = {"penalize": "penalties", "proximal": "proximals"}
BESIDE = ("decay", "independent_decay", "corrected_decay")
"""Links that add a decay to the optimiser's direction. The decay does not depend on the gradient of the loss."""
PULLS = (*ARGUMENTS, *BESIDE, "cautious_decay", "p_norm_decay")

FAR = 100.0
"""Scale of weights far outside any relevant set. If a constraint holds afterwards, the chain has enforced it."""
IDLE, CLIMBING = 32, 4
"""Largest number of optimiser steps without movement, and of steps uphill, before the first step downhill.

Gradient accumulation and a warm-up from 0 start without movement. Sharpness-aware minimisation starts uphill.
"""
SCALES = (1.0, 3.0, 0.01)
"""Factors by which weights are scaled to compare pulls. The small one tells a pull to 0 from one to a point near 0."""
MIRRORED, REMOTE = (0.01, -0.01), (1e6, 3e6)
"""Factors at which to find a decay inside a larger pull, such as the L2 part of L1L2.

For large weights, the decay outweighs other pulls. For small weights, pulls to 0 and to another point differ.
"""
NEARER = 0.01
"""Share of the distance that counts as nearer, for constraints that go only a share of the way in a step."""
NEAR = 1e-12
"""Scale of weights that a proximal step with a threshold sets to 0. Other proximal steps only shrink them."""
CLOSE = 0.05
"""Largest relative difference at which two learning rates count as equal. Some optimisers change theirs slightly."""
MET = 1e-2
"""Largest distance from a set that rounding errors, even those of bfloat16, can cause for weights of scale `FAR`."""


def check(tx: optax.GradientTransformation, params: Tree, rules: Rules | None = None) -> list[str]:
    """Check an optimiser chain in a dry run, and return one sentence per mistake in the chain.

    A chain whose transformations are in the wrong order trains without an error message. The dry run needs no loss and
    no data, because it uses random weights and random gradients. It finds:

    - updates along the gradient instead of against it, because the sign of the learning rate is applied twice or not at
      all
    - several optimisers in one chain
    - a constraint that does not hold after the chain
    - weights that do not come nearer to the set of a constraint with a `rate` below 1. Such a constraint moves weights
      only part of the way to its set in each step.
    - a penalty, decay or proximal step that makes weights grow
    - a penalty, decay or proximal step that has no effect
    - a decay that a later transformation, such as an adaptive optimiser, rescales
    - a decay that overshoots, because its strength times the learning rate is too large
    - a proximal step that cannot hold weights at 0, because it follows an optimiser like Adam, which rescales small
      gradients
    - weights that are regularised twice in the same way, for example by an L2 penalty and by the decay of `optax.adamw`
    - a `learning_rate` of `jaxreg.regularize` that differs from the learning rate of the optimiser

    The dry run does not check:

    - later values of a learning-rate schedule, after the first step that moves the weights
    - the learning rate of an optimiser that is not an Optax chain, such as `optax.inject_hyperparams(…)`
    - the share of exact zeros after the training
    - the decay of `optax.adamw` or other regularisation without jaxreg, unless jaxreg regularises the same weights too

    The dry run searches for weights that are regularised twice only if it finds none of the other mistakes. If no
    weights are regularised twice either, it searches for proximal steps that cannot hold weights at 0. So check the
    chain again after each correction.

    The dry run computes in float64, so that small learning rates have an effect. It usually makes two optimiser steps.
    If the first steps do not move the weights against the gradient, as with gradient accumulation, it makes more steps.
    An optimiser that does not move the weights in 32 steps is reported.

    Args:
        tx: Optimiser chain that contains transformations of jaxreg. `jaxreg.regularize` builds one in the right
            order.
        params: Parameters of the model. The dry run uses random weights of the same shapes and does not change
            `params`.
        rules: Penalties that the chain must lower, and constraints that must hold after the chain. The rules of the
            transformations in the chain are always checked, so they need not be repeated here.

    Returns:
        One sentence per mistake; an empty list if there is none.

    Raises:
        TypeError: If `tx` has no `init` and `update`, or a leaf of `params` is not an array. Also if the `update` needs
            more than gradients, state and parameters, as in a line search.
        ValueError: If a path pattern matches no leaf, or two patterns of equal precedence match one leaf (see
            `jaxreg.explain`). The patterns of the transformations in the chain are checked, too.

    Example:
        The second chain has a mistake. `optax.adam` has already applied the negative learning rate. The gradient of the
        penalty, which `jaxreg.decay` adds after it, is then added to the weights instead of subtracted.

        >>> import jax.numpy as jnp, jaxreg as jr, optax
        >>> params = {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}
        >>> jr.check(optax.chain(optax.adam(0.1), jr.project(jr.MaxNorm(1.0))), params)
        []
        >>> (fault,) = jr.check(optax.chain(optax.adam(0.1), jr.decay(jr.L2(0.01))), params)
        >>> print(fault.partition(":")[0])
        jaxreg.decay makes the weights of 'kernel' grow
    """
    if not (callable(getattr(tx, "init", None)) and callable(getattr(tx, "update", None))):
        raise TypeError(
            f"`tx` is {type(tx).__name__}; expected an optax.GradientTransformation. If you have an "
            "nnx.Optimizer or a TrainState, pass the attribute tx of this object"
        )
    refuse_other_leaves(params, "check")
    with jax.enable_x64(True):
        try:
            run = _DryRun(tx, params)
        except TypeError as error:
            if not re.search(r"required keyword-only argument.*'(value|grad|value_fn)'", str(error)):
                raise
            raise TypeError(
                "jaxreg.check can't call this optimiser, because it needs more than gradients, as a line search does: "
                f"{error}. Check your chain with optax.adam(1e-3) instead of this optimiser. To train with a line "
                "search, add jaxreg.penalty(params, rules) to the loss, and apply the updates by jaxreg.apply_updates "
                "with the constraints"
            ) from None
        penalties, constraints = _by_kind(rules or {}, run.start)
        if run.still():
            return [
                f"The optimiser moves no weight in the first {IDLE} steps; expected steps against the gradient. If it "
                "warms up from a learning rate of 0 or accumulates gradients, use fewer warm-up or accumulation steps "
                "for this check"
            ]
        faults = run.optimizer()
        for link in run.links:
            faults += run.constraints(link.rules) if link.name == "project" else run.pull(link)
        faults += run.constraints(constraints) if constraints else []
        faults += run.penalties(penalties) if penalties else []
        for wrapped, weights in run.wrapped:
            alone = _DryRun(wrapped.optimizer, params if weights is None else weights)
            faults += [fault for fault in alone.optimizer() if fault not in faults] + alone.learning_rate(wrapped)
        return faults or run.doubled() or [fault for link in run.links for fault in run.zeros(link)]


class _DryRun:
    """Optimiser steps of a chain from random weights. The links of jaxreg in the chain can be skipped.

    If all links of jaxreg except one are skipped, the weights after the steps show the effect of this link.
    """

    def __init__(self, tx: optax.GradientTransformation, params: Tree) -> None:
        self.tx = tx
        self.start, self.gradient = _random(params, 0), _random(params, 1)
        self.none = jax.tree.map(jnp.zeros_like, self.start)
        with Watch() as watch:
            tx.update(self.none, tx.init(self.start), self.start)
        self.links = [link for link in watch.links if link.name in ("project", *PULLS)]
        self.towards = [link for link in watch.links if link.name == "conditional_gradient"]
        self.wrapped = watch.wrapped
        self.gradients = (self.gradient, jax.tree.map(jnp.negative, self.gradient))
        self._compiled: dict[frozenset[int], Callable[..., Any]] = {}  # steps by the links that are not skipped
        self._wait()

    def _wait(self) -> None:
        # `first`: first step that moves the weights against the gradient. `points`: weights and state before it, for
        # the gradient and its negative. `along`: difference between the two along the gradient.
        with Watch(without=self.links):
            self.first, self.along = 1, jnp.zeros(())
            self.points = points = [(self.start, self.tx.init(self.start))] * 2
            later = self._compiled[frozenset()] = _compiled(self._step)
            for step in range(1, IDLE + 1):
                forward = self._step if step == 1 else later
                before, points = points, [forward(*pair) for pair in zip(self.gradients, points, strict=True)]
                along = _dot(_minus(points[0][0], points[1][0]), self.gradient)
                if along < 0 or (along > 0 and self.along == 0):
                    self.first, self.along, self.points = step, along, before
                if along < 0 or (along > 0 and step >= CLIMBING):
                    break
            self.last = points[0][0]

    def _step(self, gradient: Tree, point: tuple[Tree, Any]) -> tuple[Tree, Any]:
        params, state = point
        updates, state = self.tx.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    def moved(self, gradient: Tree, only: Sequence[Link], steps: int, start: Tree | None = None) -> Tree:
        """Return the weights after `steps` optimiser steps. Skip all jaxreg transformations except those in `only`."""
        params = self.start if start is None else start
        with Watch(without=[link for link in self.links if link not in only]):
            point = params, self.tx.init(params)
            # An optimiser that waits takes many steps, and its branches would be compiled anew in each of them.
            waits, key = self.first > 1, frozenset(map(id, only))
            step = self._compiled.setdefault(key, _compiled(self._step)) if waits else self._step
            for _ in range(steps):
                point = step(gradient, point)
        return point[0]

    def effect(self, link: Link, gradient: Tree, steps: int) -> Tree:
        """Return how much the transformation `link` changes the weights in `steps` optimiser steps."""
        return _minus(self.moved(gradient, [link], steps), self.moved(gradient, [], steps))

    def still(self) -> bool:
        """Return whether no weight changes if all jaxreg transformations of the chain are skipped."""
        moved = jax.tree.leaves(_minus(self.last, self.start))
        return bool(self.along == 0) and not any(map(jnp.any, moved))

    def optimizer(self) -> list[str]:
        """Report a chain whose updates do not follow the negative gradient."""
        if self.along < 0:
            turns = self._turns()
            return (
                []
                if turns == 1
                else [
                    f"The updates change their sign {turns} times in the chain; expected once. Use one complete "
                    "optimiser, not several"
                ]
            )
        what = "do not depend on the gradient" if self.along == 0 else "follow the gradient uphill"
        return [
            f"The updates {what}; expected them to follow the negative gradient. Use one complete optimiser in the "
            "chain, such as optax.adam(1e-3), or one optax.scale_by_learning_rate at its end, not both"
        ]

    def _turns(self) -> int:
        # How often links flip the sign of the updates along the gradient. Once is right: in the optimiser.
        with Watch(without=self.links):
            stages = [
                _stages(self.tx.update, gradient, state, params)
                for gradient, (params, state) in zip(self.gradients, self.points, strict=True)
            ]
        slopes = [float(_dot(_minus(up, down), self.gradient)) for up, down in zip(*stages, strict=True)]
        signs = [1.0, *(slope for slope in slopes if slope)]
        return sum(before * after < 0 for before, after in pairwise(signs))

    def pull(self, link: Link) -> list[str]:
        """Report a jaxreg transformation that does not make its penalties smaller."""
        place = f"use jaxreg.regularize(optimizer, {ARGUMENTS.get(link.name, 'decays')}=...), which places it correctly"
        early, late = (self._slopes(link.rules, self.effect(link, self.none, self.first + more)) for more in (0, 1))
        kept, grown = [], []
        for (path, slope, change), (_, _, later) in zip(early, late, strict=True):
            # A pull can overshoot where another link has set the weights to 0 already, so its first effect counts.
            change = change if jnp.any(change) else later
            if not jnp.any(change):
                kept.append(path)
            elif jnp.real(jnp.vdot(slope, change)) >= 0:
                grown.append(path)
        if kept:
            return [f"jaxreg.{link.name} does not change the weights of {_named(kept)}: {place}"]
        if grown:
            return [f"jaxreg.{link.name} makes the weights of {_named(grown)} grow: {place}"]
        if link.name not in ARGUMENTS and all(self._overshoots(link, scale) for scale in SCALES):
            factor = "its strength" if link.name == "independent_decay" else "its strength or the learning rate"
            return [f"jaxreg.{link.name} overshoots, so that its penalty rises in each step: lower {factor}"]
        if link.name in BESIDE:
            still, moving = (self.effect(link, g, self.first) for g in (self.none, self.gradient))
            apart = _minus(still, moving)
            if _dot(apart, apart) > 1e-4 * _dot(still, still):
                return [
                    f"jaxreg.{link.name} is rescaled by a later transformation, such as an adaptive optimiser or "
                    f"clipping, so it works like jaxreg.penalize: {place}"
                ]
        return []

    def _overshoots(self, link: Link, scale: float) -> bool:
        # Whether steps of the link raise its penalty. Those of L1 do at a small scale, and those of a penalty
        # that grows faster than a square at a large scale. A decay that is too strong does at every scale.
        start = jax.tree.map(lambda w: (scale * w).astype(w.dtype), self.start)
        free, moved = (self.moved(self.none, links, self.first, start) for links in ([], [link]))
        moved = jax.tree.map(jnp.add, start, _minus(moved, free))
        before, after = (float(penalty(params, link.rules, 0)) for params in (start, moved))
        return math.isfinite(before) and not after <= before

    def zeros(self, link: Link) -> list[str]:
        """Report a proximal step that sets weights to 0 but does not hold them there against a small gradient.

        A gradient smaller than the slope of the penalty leaves a weight at 0 in the minimum of loss + penalty.
        """
        if link.name != "proximal":
            return []
        near = jax.tree.map(lambda w: (NEAR * w).astype(w.dtype), self.start)
        small = jax.tree.map(lambda slope: slope / 100, self._gradient(link.rules, near))
        reached, kept, held = (
            self.moved(gradient, [link], self.first + 1, start)
            for gradient, start in ((self.none, near), (self.none, self.none), (small, self.none))
        )
        arrays = zip(matches(self.start, link.rules), *map(jax.tree.leaves, (small, reached, kept, held)), strict=True)
        moving = [
            (leaf, rule)
            for (leaf, _, rule), pull, near_0, at_0, after in arrays
            if jnp.any(pull) and jnp.any(after) and not jnp.any(near_0) and not jnp.any(at_0)
        ]
        if not moving:
            return []
        per_weight = all(_steps_per_weight(rule, leaf.array) for leaf, rule in moving)
        return [
            f"jaxreg.proximal does not hold the weights of {_named([leaf.path for leaf, _ in moving])} at 0, so they "
            "may not become exactly 0. Even for a small gradient, a step of the optimiser is larger than the proximal "
            f"step, as with Adam: use {'jaxreg.proximal_adam, or ' if per_weight else ''}an optimiser such as "
            "optax.sgd, and give jaxreg.proximal the learning rate of the optimiser"
        ]

    def doubled(self) -> list[str]:
        """Report weights that two transformations regularise in the same way."""
        scales = (*SCALES, *MIRRORED, *REMOTE)
        places = [jax.tree.map(lambda w, s=scale: (s * w).astype(w.dtype), self.start) for scale in scales]
        after = [self.moved(self.none, [], self.first + 1, place) for place in places]
        before, behind = (zip(*map(jax.tree.leaves, each), strict=True) for each in (places, after))
        # A proximal optimiser can set all weights to 0. Their direction then says nothing.
        own = {
            leaf.path: jnp.stack([(w - end) / s for w, end, s in zip(starts, ends, scales, strict=True)])
            for leaf, starts, ends in zip(leaves(self.start), before, behind, strict=True)
            if all(map(jnp.any, ends))
        }
        # A conditional gradient shrinks the weights towards a point of its set, and a penalty only chooses the point.
        within = {
            leaf.path for link in self.towards for leaf, by, _ in matches(self.start, link.rules) if by is not None
        }
        pulls = [
            ("the optimiser's own decay, as in optax.adamw,", {path: own[path] for path in own if path not in within}),
            ("jaxreg.conditional_gradient", {path: own[path] for path in own if path in within}),
        ]
        for link in self.links:
            if link.name != "project":
                slopes = [
                    {path: slope / scale for path, slope, _ in self._slopes(link.rules, place, place)}
                    for place, scale in zip(places, scales, strict=True)
                ]
                common = [path for path in slopes[0] if all(path in each for each in slopes)]
                common = [path for path in common if link.name != "penalize" or path not in within]
                pull = {path: jnp.stack([each[path] for each in slopes]) for path in common}
                pulls.append((f"jaxreg.{link.name}", pull))
        return [
            f"{first} and {second} shrink the weights of {_named(paths)} in the same way: use only one of the two"
            for (second, theirs), (first, ours) in combinations(pulls, 2)
            if (
                paths := [
                    path for path in ours if path in theirs and _alike(ours[path], theirs[path], theirs is pulls[0][1])
                ]
            )
        ]

    def learning_rate(self, wrapped: Wrapped) -> list[str]:
        """Report a learning rate passed to `jaxreg.regularize` that differs from the optimiser's own learning rate."""
        rate = rate_at(wrapped.learning_rate, jnp.asarray(self.first - 1))
        if jnp.size(rate) != 1:
            return []
        given = float(jnp.squeeze(rate))
        own = self._rates()
        if not own or any(abs(rate - given) <= CLOSE * abs(given) for rate in own):
            return []
        rate = next((rate for rate in own if rate != 1), 1.0)
        return [
            f"jaxreg.regularize got a learning rate of {given:.3g} in step {self.first}, and that of the optimiser is "
            f"{rate:.3g}: pass the optimiser's own number or schedule, which scales decays and proximal steps"
        ]

    def _rates(self) -> list[float]:
        # Possible learning rates: the negative factor in the chain, alone and with any of the others. A factor is
        # what a link multiplies its updates by, if it is the same for every gradient, unlike that of clipping.
        params, state = self.points[0]
        with Watch(without=self.links):
            runs = [
                _stages(self.tx.update, jax.tree.map(lambda g, c=scale: c * g, self.gradient), state, params)
                for scale in (1.0, -1.0, 1e-3)
            ]
        if len(runs[0]) < 3:
            return []
        found = [_factor(before, after) for before, after in pairwise(zip(*runs, strict=True))]
        negative = [factor for factor in found if factor is not None and factor < 0]
        others = [factor for factor in found if factor is not None and factor > 0]
        if len(negative) != 1:
            return []
        sets = chain.from_iterable(combinations(others, size) for size in range(len(others) + 1))
        return [-negative[0] * math.prod(some) for some in sets]

    def penalties(self, rules: Rules) -> list[str]:
        """Report penalties that do not become smaller although the gradient of the loss is 0."""
        change = _minus(self.moved(self.none, self.links, self.first + 1), self.start)
        high = [path for path, slope, moved in self._slopes(rules, change) if jnp.real(jnp.vdot(slope, moved)) >= 0]
        advice = "add it with jaxreg.regularize(optimizer, penalties=...)"
        return [f"The chain does not lower the penalty of {_named(high)}: {advice}"] if high else []

    def constraints(self, rules: Rules) -> list[str]:
        """Report a constraint that does not hold after steps from weights far outside the constraint set.

        With a `rate` below 1, the weights must end nearer to the set than without the transformations of jaxreg.
        """
        every = self.first * max((link.every for link in self.links), default=1)
        steps = every * -(-2 // every)
        for sign in (FAR, -FAR):
            far = jax.tree.map(lambda w, s=sign: (s * w).astype(w.dtype), self.start)
            there, free = (self.moved(self.gradient, links, steps, far) for links in (self.links, []))
            outside = []
            for (rule, _, found), (_, _, without) in zip(grouped(there, rules), grouped(free, rules), strict=True):
                away, before = (
                    jnp.max(distance(rule, each, [leaf.array for leaf in each], steps - 1), initial=0)
                    for each in (found, without)
                )
                # A rate may have a schedule, and the link that has it may count its steps otherwise.
                rates = [
                    jnp.min(jnp.asarray(rate_at(facts(innermost(rule)).rate, jnp.asarray(s)))) for s in range(steps)
                ]
                share = min(1.0, *map(float, rates))
                if not away <= MET and not (share < 1 and away <= (1 - min(share, NEARER) / 2) * before):
                    outside.append((rule, [leaf.path for leaf in found], share < 1))
            if outside:
                (rule, paths, partial), *others = outside
                more = f", nor do the constraints of {_others(sum(len(each[1]) for each in others))}" if others else ""
                what = "does not come nearer to its limits through" if partial else "does not hold after"
                return [
                    f"{rule!r} for {', '.join(map(repr, paths))} {what} the chain{more}: put "
                    "jaxreg.project last, or use jaxreg.regularize(optimizer, constraints=...)"
                ]
        return []

    def _slopes(self, rules: Rules, change: Tree, at: Tree | None = None) -> list[tuple[str, jax.Array, jax.Array]]:
        # (path, gradient of the penalty, change) for each array with a nonzero gradient of the penalty.
        at = self.start if at is None else at
        slopes = self._gradient(rules, at)
        arrays = zip(leaves(self.start), jax.tree.leaves(slopes), jax.tree.leaves(change), strict=True)
        return [(leaf.path, slope, moved) for leaf, slope, moved in arrays if jnp.any(slope)]

    def _gradient(self, rules: Rules, at: Tree) -> Tree:
        return jax.tree.map(jnp.conj, jax.grad(lambda params: penalty(params, rules, 0))(at))


def _compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    # Each has a function of its own: JAX would trace equal ones once, whatever is skipped.
    return jax.jit(lambda gradient, point: step(gradient, point))


def _steps_per_weight(rule: Any, w: jax.Array) -> bool:
    # Whether `jaxreg.proximal_adam` accepts the penalty.
    try:
        jax.eval_shape(at_rule(rule, 0).prox, w, jnp.abs(w))
    except (TypeError, ValueError):
        return False
    return True


def _named(paths: Sequence[str]) -> str:
    return repr(paths[0]) + (f" and {_others(len(paths) - 1)}" if len(paths) > 1 else "")


def _others(count: int) -> str:
    return f"{count} other{'s' if count > 1 else ''}"


def _alike(pull: jax.Array, other: jax.Array, is_decay: bool) -> bool:
    # Whether two pulls, each at all scales of `doubled`, do the same, or the decay `other` is a part of `pull`.
    same, near, remote = (slice(0, 3), slice(3, 5), slice(5, 7))
    if _aligned(pull[same], other[same]):
        return True
    return is_decay and _aligned(pull[remote], other[remote]) and bool(jnp.all(jnp.real(pull * other.conj())[near] > 0))


def _aligned(a: jax.Array, b: jax.Array) -> bool:
    # Whether two changes have the same direction, to 1 % of their length.
    return bool(jnp.real(jnp.vdot(a, b)) > 0.9999 * jnp.linalg.norm(a) * jnp.linalg.norm(b) > 0)


def _factor(before: Sequence[Tree], after: Sequence[Tree]) -> float | None:
    # The number c with after = c · before in every run, or None.
    factors = []
    for given, made in zip(before, after, strict=True):
        size = float(_dot(given, given))
        factor = float(_dot(given, made)) / size if size else math.nan
        rest = _minus(made, jax.tree.map(lambda u, c=factor: c * u, given))
        if not float(_dot(rest, rest)) <= CLOSE**2 * factor**2 * size:
            return None
        factors.append(factor)
    return factors[0] if max(factors) - min(factors) <= CLOSE * abs(factors[0]) else None


def _stages(update: Callable[..., Any], updates: Tree, state: Any, params: Tree) -> list[Tree]:
    # The updates after each link of a chain. Optax keeps the links in the closure of the chain's update.
    links = inspect.getclosurevars(update).nonlocals.get("update_fns") if inspect.isfunction(update) else None
    if links is None:
        return [update(updates, state, params)[0]]
    stages: list[Tree] = [updates]
    for link, own in zip(links, state, strict=True):
        stages += _stages(link, stages[-1], own, params)
    return stages


def _by_kind(rules: Rules, params: Tree) -> tuple[dict[str, Rule], dict[str, Rule]]:
    penalties: dict[str, Rule] = {}
    constraints: dict[str, Rule] = {}
    for leaf, pattern, rule in matches(params, rules):
        if pattern is not None and rule is not None:
            known = isinstance(rule, Penalty | Constraint)
            cost = isinstance(rule, Penalty) if known else jax.eval_shape(rule, leaf.array).shape == ()
            (penalties if cost else constraints)[pattern] = rules[pattern] if isinstance(rules, Mapping) else rules
    return penalties, constraints


def _random(params: Tree, seed: int) -> Tree:
    flat, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(flat) or 1)

    def draw(key: jax.Array, w: jax.Array) -> jax.Array:
        if not jnp.issubdtype(w.dtype, jnp.inexact):
            return w
        return jax.random.normal(key, w.shape, complex if jnp.iscomplexobj(w) else float)

    return jax.tree.unflatten(structure, list(map(draw, keys, map(jnp.asarray, flat))))


def _minus(a: Tree, b: Tree) -> Tree:
    return jax.tree.map(jnp.subtract, a, b)


def _dot(a: Tree, b: Tree) -> jax.Array:
    return sum(map(jnp.real, map(jnp.vdot, jax.tree.leaves(a), jax.tree.leaves(b))), jnp.zeros(()))
