"""Clipping of attention logits by shrinking the query and key weights."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxreg._checks import check_number
from jaxreg._hyperparameters import Number, rate_at
from jaxreg._precision import wide
from jaxreg._protocols import Tree
from jaxreg.rules._matching import Leaf, leaves
from jaxreg.transforms._base import StepState, after_update, leaves_like, require_params
from jaxreg.transforms._exact_update import landing


def qk_clip(
    pairs: Mapping[str, str], threshold: Number = 100.0, axis: int = -2
) -> optax.GradientTransformationExtraArgs:
    """Shrink the query and key kernels of attention heads whose logits exceed a threshold, like QK-clip in MuonClip.

    Put this transformation last in the chain. Let S be the largest logit of a head in the current batch, computed with
    `params`, the weights before the update. If S exceeds the threshold τ, both kernels of the head are multiplied by
    √(τ / S), after the optimiser step. If S is at most τ, the head is not scaled. S is computed before the optimiser
    step, so the step itself may still move logits above τ. The scaling alone, without the optimiser step, brings the
    logits of the same inputs to at most τ, if queries and keys have neither biases nor a normalisation.

    Pass the largest logits to `update` as an extra argument, under the path of the query kernel:
    `tx.update(grads, state, params, max_logits={path: array})`. The array has one number per head, so its length is the
    number of heads. If the kernels are stacks of layers along the first axis, the array has the shape (layers, heads).

    Args:
        pairs: Dict from the path of a query kernel to the path of its key kernel. `jaxreg.explain` lists the paths.
        threshold: τ, above 0: a float, an array or an Optax schedule.
        axis: Axis of the kernels that contains the heads, as a negative number. The axis may have several successive
            entries per head, such as axis -1 of a kernel of shape (inputs, heads · size). Its length must be a multiple
            of the number of heads.

    Returns:
        A gradient transformation. Its state counts the updates. Its `update` needs `params` and `max_logits`.

    Raises:
        ValueError: If the threshold is not above 0, the axis is not negative, or a path is not in the tree. At
            `update`, if the logits of a pair are missing, their shape does not fit the heads, or a kernel lacks the
            axis.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr, optax
        >>> params = {"query": jnp.ones((3, 2, 4)), "key": jnp.ones((3, 2, 4))}
        >>> tx = optax.chain(optax.sgd(0.1), jr.qk_clip({"query": "key"}, threshold=100.0))
        >>> zeros = {name: jnp.zeros((3, 2, 4)) for name in params}
        >>> logits = {"query": jnp.array([50.0, 400.0])}
        >>> updates, _ = tx.update(zeros, tx.init(params), params, max_logits=logits)
        >>> print(optax.apply_updates(params, updates)["key"][0, :, 0])
        [1.  0.5]

    Reference:
        Kimi Team, Kimi K2: open agentic intelligence, 2025.
    """
    check_number(threshold, "jaxreg.qk_clip: threshold", "(0, inf)")
    if isinstance(axis, bool) or not isinstance(axis, int) or axis >= 0:
        raise ValueError(
            f"jaxreg.qk_clip: axis is {axis!r}; expected a negative number, which counts axes from the end"
        )

    def places(params: Tree) -> dict[str, tuple[int, Leaf]]:
        found = {leaf.path: (place, leaf) for place, leaf in enumerate(leaves(params))}
        missing = [path for pair in pairs.items() for path in pair if path not in found]
        if missing:
            raise ValueError(
                f"jaxreg.qk_clip: there is no parameter {missing[0]!r}; expected one of {', '.join(found)}"
            )
        return found

    def init(params: Tree) -> StepState:
        places(params)
        return StepState(jnp.zeros((), jnp.int32))

    def update(
        updates: Tree, state: StepState, params: Tree | None = None, *, max_logits: Any = None, **extra: Any
    ) -> tuple[Tree, StepState]:
        require_params(params, "qk_clip")
        for query in pairs:
            if not isinstance(max_logits, Mapping) or query not in max_logits:
                raise ValueError(f"jaxreg.qk_clip got no logits for {query!r}; pass max_logits={{{query!r}: array}}")
        found, steps = places(params), leaves_like(params, updates)
        limit = rate_at(threshold, state.count)
        for query, key in pairs.items():
            logits = wide(jnp.asarray(max_logits[query]))
            shares = jnp.sqrt(jnp.where(logits > limit, limit / jnp.where(logits > limit, logits, 1), 1))
            for path in (query, key):
                place, leaf = found[path]
                step = jnp.zeros_like(leaf.array) if steps[place] is None else steps[place]
                there = after_update(leaf, step)
                goal = _scaled(path, there, shares, axis)
                steps[place] = jnp.where(goal == there, step, landing(leaf.array, goal, step.dtype))
        made = jax.tree.unflatten(jax.tree.structure(params), steps)
        return made, StepState(optax.safe_increment(state.count))

    return optax.GradientTransformationExtraArgs(init, update)


def _scaled(path: str, w: jax.Array, shares: jax.Array, axis: int) -> jax.Array:
    if -axis + max(shares.ndim - 1, 0) > w.ndim:
        layers = ", except the first, along which the layers are stacked" if shares.ndim > 1 else ""
        raise ValueError(
            f"jaxreg.qk_clip: axis is {axis}, and the weights {path!r} have shape {w.shape}; expected one of their "
            f"axes{layers}"
        )
    heads = shares.shape[-1] if shares.ndim else 0
    length = w.shape[axis]
    if shares.ndim not in (1, 2) or not heads or length % heads or (shares.ndim == 2 and len(shares) != len(w)):
        raise ValueError(
            f"jaxreg.qk_clip: the logits for {path!r} have shape {shares.shape}, and the weights {w.shape}; expected "
            f"logits of shape (heads,), or (layers, heads) for stacked layers. The number of heads must divide "
            f"{length}, the length of axis {axis} of the weights. The number of layers must equal the length of axis 0"
        )
    each = jnp.repeat(shares, length // heads, axis=-1)
    shape = [1] * w.ndim
    shape[axis] = length
    if shares.ndim == 2:
        shape[0] = len(w)
    return (wide(w) * each.reshape(shape)).astype(w.dtype)
