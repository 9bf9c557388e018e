"""Learned strengths: the gradient of a validation loss with respect to the logarithms of the strengths.

There are two methods:

- Forward mode carries one tangent per strength through the whole training. The result is exact for any optimiser. The
  memory does not grow with the number of optimiser steps. The cost grows with the number of strengths.
- Implicit differentiation uses only the final weights, which must minimise the training loss. One linear system is
  solved for all strengths.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

__all__ = ["Tuned", "conjugate_gradients", "forward", "implicit", "neumann", "tune"]

Loss = Callable[[Any], jax.Array]
"""Function that maps a pytree of logarithms of strengths to a scalar, such as the last validation loss of a run."""

Solve = Callable[[Callable[[Any], Any], Any], Any]
"""Function `solve(multiply, b)` that returns the tree x with H x = b. Here multiply(v) is the product H v."""


def forward(loss: Loss, logs: Any) -> tuple[jax.Array, Any]:
    """Compute a loss and its gradient with respect to log strengths, by forward-mode differentiation.

    The whole training is differentiated once per strength, so the cost grows with the number of strengths.

    Args:
        loss: Function that takes `logs`, trains a model with these strengths and returns a scalar, such as the
            validation loss. It may contain any loops of `jax.lax`.
        logs: Logarithms of the strengths: a pytree of numbers or arrays.

    Returns:
        The loss, and its gradient as a tree like `logs`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxreg as jr
        >>> from jaxreg.lab import MLP, Problem, Recipe, linen, moons
        >>> from jaxreg.lab import fit
        >>> problem = Problem(linen(MLP(hidden=4), (2,)), moons([0], 20, 50, validation=20), epochs=20, record_every=20)
        >>> def loss(logs):
        ...     recipe = Recipe(penalties={"hidden/kernel": jr.L2(jnp.exp(logs["hidden"]))})
        ...     return fit(problem, recipe, jax.random.key(0))["validation_loss"].values[-1]
        >>> value, slope = jax.jit(lambda logs: forward(loss, logs))({"hidden": jnp.log(0.1)})
        >>> print(value.shape, slope["hidden"].shape)
        () ()

    Reference: Franceschi et al. (2017), Forward and reverse gradient-based hyperparameter optimization.
    """
    flat, unravel = ravel_pytree(jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(float)), logs))

    def along(direction: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.jvp(lambda x: loss(unravel(x)), (flat,), (direction,))

    value, slope = jax.vmap(along, out_axes=(None, 0))(jnp.eye(flat.size, dtype=flat.dtype))
    return value, unravel(slope)


def implicit(
    train_loss: Callable[[Any, Any], jax.Array],
    validation_loss: Callable[[Any], jax.Array],
    params: Any,
    logs: Any,
    solve: Solve,
) -> Any:
    """Compute the gradient of a validation loss with respect to log strengths, by implicit differentiation.

    Let V be the validation loss, L the training loss, and s the logarithms of the strengths. At weights w that minimise
    L, the gradient is -(∂²L/∂s∂w) · H⁻¹ · (∂V/∂w), with the Hessian H = ∂²L/∂w².

    Args:
        train_loss: Function of (parameters, logarithms of the strengths). It returns the scalar that the training
            minimises, penalty included.
        validation_loss: Function of the parameters that returns a scalar.
        params: Parameters that minimise the training loss.
        logs: Logarithms of the strengths at which `params` is the minimum.
        solve: Solver of the linear system H x = b: `conjugate_gradients()`, `neumann(…)` or your own function
            `solve(multiply, b)`, which returns x. The function `multiply` takes a tree v and returns the product H v.
            The trees b, v and x have the structure of `params`.

    Returns:
        The gradient, as a tree like `logs`.

    Example:
        >>> import jax.numpy as jnp
        >>> def train_loss(w, s):  # its minimum is at 2 / (1 + 2 exp(s))
        ...     return (w - 2) ** 2 / 2 + jnp.exp(s) * w**2
        >>> slope = implicit(train_loss, lambda w: w, jnp.asarray(2 / 3), jnp.asarray(0.0), conjugate_gradients())
        >>> print(round(float(slope), 4))
        -0.4444

    Reference: Lorraine, Vicol and Duvenaud (2020), Optimizing millions of hyperparameters by implicit differentiation.
    """

    def curved(direction: Any) -> Any:
        return jax.jvp(lambda w: jax.grad(train_loss)(w, logs), (params,), (direction,))[1]

    answer = solve(curved, jax.grad(validation_loss)(params))
    along = jax.grad(lambda s: jax.jvp(lambda w: train_loss(w, s), (params,), (answer,))[1])(logs)
    return jax.tree.map(jnp.negative, along)


def conjugate_gradients(steps: int = 100, tolerance: float = 1e-6) -> Solve:
    """Return a conjugate-gradient solver for linear systems, for the argument `solve` of `implicit`.

    The solver takes a function that multiplies a tree by H, and a tree b. It returns the tree x with H x = b.

    If H is positive definite and arithmetic is exact, the solution is exact after n steps, for a model with n weights.

    Args:
        steps: Largest number of products with H.
        tolerance: Largest norm of the residual H x - b, relative to the norm of b.
    """
    cg: Any = jax.scipy.sparse.linalg.cg
    return lambda curved, b: cg(curved, b, tol=tolerance, maxiter=steps)[0]


def neumann(rate: float, terms: int = 100) -> Solve:
    """Return a Neumann-series solver for linear systems, for the argument `solve` of `implicit`.

    The solver approximates the solution x of H x = b by rate · Σ (1 - rate · H)^k b, with `terms` terms from k = 0.
    Gradient descent on xᵀHx / 2 - bᵀx from x = 0 reaches this sum after `terms` steps.

    Let H be positive definite with the largest eigenvalue h. With more terms, the sum converges to x if `rate` is below
    2 / h. If `rate` is below 1 / h, the sum never overshoots: along each eigenvector of H, it lies between 0 and x. So
    too few terms make the sum too small rather than too large.

    Args:
        rate: Step size, below 2 / h.
        terms: Number of terms.
    """

    def solve(curved: Callable[[Any], Any], b: Any) -> Any:
        def step(_: int, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            term, total = carry
            term = jax.tree.map(lambda t, h: t - rate * h, term, curved(term))
            return term, jax.tree.map(jnp.add, total, term)

        _, total = jax.lax.fori_loop(1, terms, step, (b, b))
        return jax.tree.map(lambda t: rate * t, total)

    return solve


class Tuned(NamedTuple):
    """Result of `tune`: the best regularisation strengths, and all strengths that were tried, with their losses.

    Args:
        logs: Logarithms of the strengths with the smallest loss among all that were tried.
        loss: Loss at `logs`.
        path: All logarithms that were tried, with a leading axis of length `steps`.
        losses: Loss at each entry of `path`, of shape (steps,).
    """

    logs: Any
    loss: jax.Array
    path: Any
    losses: jax.Array


def tune(loss: Loss, logs: Any, steps: int = 10, optimizer: optax.GradientTransformation | None = None) -> Tuned:
    """Tune regularisation strengths by gradient descent on their logarithms. Each update trains the whole model once.

    The function `jaxreg.lab.hypergradient.forward` computes the gradients, by forward-mode differentiation. All
    trainings are one loop of `jax.lax`, so they compile to one program.

    `tune` is a pure function of `logs`, the logarithms of the strengths. Use `jax.vmap` to tune the strengths
    separately for each seed and draw.

    Args:
        loss: Function that takes the logarithms of the strengths, trains a model with these strengths and returns a
            scalar, such as the validation loss.
        logs: Logarithms of the strengths at the start: a pytree of numbers or arrays.
        steps: Number of trainings.
        optimizer: Optimiser of the logarithms. The default is Adam with a learning rate of 1, b1 = 0.5 and b2 = 0.7. It
            changes each strength by a factor of about e per update.

    Returns:
        A `Tuned`. Its `logs` are the logarithms with the smallest loss among all that were tried.

    Example:
        >>> import jax.numpy as jnp
        >>> found = tune(lambda s: (s - 2.0) ** 2, jnp.asarray(-3.0), steps=12)
        >>> print(bool(abs(found.logs - 2) < 0.5), found.losses.shape)
        True (12,)
    """
    optimizer = optimizer or optax.adam(1.0, b1=0.5, b2=0.7)
    start = jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(float)), logs)

    def step(carry: Any, _: None) -> tuple[Any, tuple[Any, jax.Array]]:
        logs, state = carry
        value, slope = forward(loss, logs)
        slope = jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), g, 0), slope)  # diverged trainings give no gradient
        updates, state = optimizer.update(slope, state, logs)
        return (optax.apply_updates(logs, updates), state), (logs, value)

    _, (path, losses) = jax.lax.scan(step, (start, optimizer.init(start)), None, length=steps)
    best = jnp.argmin(jnp.where(jnp.isfinite(losses), losses, jnp.inf))
    return Tuned(jax.tree.map(lambda x: x[best], path), losses[best], path, losses)
