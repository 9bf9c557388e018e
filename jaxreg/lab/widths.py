"""Networks of several widths in one compiled program: a narrow network is padded with units whose weights are 0.

A unit whose incoming and outgoing weights are 0 adds nothing to the outputs. Here the weights of such units are also
masked, so their gradients are 0 and every common optimiser leaves them at 0. So the arrays of all widths have the same
shape, and the width can be traced, like a strength.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._checks import check_integer
from jaxreg._hyperparameters import known
from jaxreg.lab.models import Model

__all__ = ["any_width"]


def any_width(make: Callable[[int], Model], widths: Sequence[int]) -> Callable[[jax.Array | int], Model]:
    """Return a function that makes a `Model` of any given layer width. The width may be a traced number.

    The arrays of all models have the shapes of the widest model. A narrower model starts with the weights that
    `make(width)` draws from the same key, padded with zeros. Except for rounding, it trains as the model of
    `make(width)` does. Each run takes as much time as a run of the widest model.

    Several layers may depend on the width. An axis that grows with it must have k · width entries for a fixed k, in k
    blocks of `width` entries. This holds for the filters of a convolution and for the gates of an LSTM.

    A penalty or constraint acts on the padded arrays:

    - L1, L2, weight decay, `MaxNorm` and `NonNeg` act as on the narrow model, because they keep zeros and do not depend
      on the number of weights.
    - `UnitNorm` and other rules that change zeros train the same network if each unit is a separate group. The stored
      norms `norm/…` then contain the padding too.
    - `MaxRMS`, `Simplex` and other rules that depend on the number of weights act differently than on the narrow model.

    Args:
        make: Function that takes a width and returns the model of that width, such as
            ``lambda units: linen(MLP(hidden=units), inputs=(2,))``.
        widths: All widths that are used, two or more.

    Raises:
        ValueError: If there are fewer than two different widths, or an axis of the parameters does not grow in
            proportion to the width. The returned function raises if its width is not one of `widths`; a traced width
            that is not one of them gives NaN. A model raises when it is called, if units whose weights are all zero
            change its outputs, as in a layer norm over units.

    Returns:
        A function from a width to a `Model`.

    Example:
        >>> import jax
        >>> from jaxreg.lab import MLP, Problem, Recipe, any_width, fit, linen, sweep, tutorial_moons
        >>> model, data = any_width(lambda units: linen(MLP(units), (2,)), (2, 4, 16)), tutorial_moons()
        >>> def run(width, seed):
        ...     problem = Problem(model(width), data, epochs=20, record_every=20)
        ...     return {"loss": fit(problem, Recipe(), jax.random.key(seed))["test_loss"].values[-1]}
        >>> found = sweep(run, {"width": [2, 4, 16], "seed": range(2)}, progress=False)
        >>> dict(found.sizes)
        {'width': 3, 'seed': 2}

    Reference: Chen, Goodfellow and Shlens (2016), Net2Net, widen a network in a similar way, with copies of units.
    """
    ordered = sorted(set(widths))
    for width in ordered:
        check_integer(width, "any_width: a width", 1)
    if len(ordered) < 2:
        raise ValueError(f"any_width: widths is {widths!r}; expected two or more different widths")
    family = _Family(make, ordered)

    def model(width: jax.Array | int) -> Model:
        if known(width) and int(width) not in ordered:
            raise ValueError(f"`width` is {width}; expected one of {', '.join(map(str, ordered))}")

        def apply(params: Any, x: jax.Array) -> jax.Array:
            family.check(x)
            return family.widest.apply(family.masked(params, width), x)

        return Model(lambda key: family.start(key, width), apply)

    return model


class _Family:
    def __init__(self, make: Callable[[int], Model], widths: list[int]) -> None:
        self.models = [make(width) for width in widths]
        self.widths, self.widest, self._checked = widths, self.models[-1], set[tuple[int, ...]]()
        shapes = [jax.eval_shape(model.init, jax.random.key(0)) for model in self.models]
        # Paths, not structures: a module of Equinox holds its sizes in the structure of its tree.
        paths = [[jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(shape)] for shape in shapes]
        if any(path != paths[-1] for path in paths):
            raise ValueError(
                "any_width: the models of two widths have different parameter names; expected the same "
                "layers at every width"
            )
        self._structure = jax.tree.structure(shapes[-1])
        self._shapes = [leaf.shape for leaf in jax.tree.leaves(shapes[-1])]
        # For each leaf and axis, the number of blocks of `width` entries, or 0 if the axis has the same size always.
        self._blocks = list(map(self._blocks_of, paths[-1], zip(*map(jax.tree.leaves, shapes), strict=True)))

    def _blocks_of(self, path: str, leaves: tuple[Any, ...]) -> tuple[int, ...]:
        blocks = []
        for axis, sizes in enumerate(zip(*(leaf.shape for leaf in leaves), strict=True)):
            count = sizes[-1] // self.widths[-1]
            if len(set(sizes)) > 1 and list(sizes) != [count * width for width in self.widths]:
                raise ValueError(
                    f"any_width: axis {axis} of {path} has sizes {', '.join(map(str, sizes))} for widths "
                    f"{', '.join(map(str, self.widths))}; expected sizes in proportion to the width"
                )
            blocks.append(count if len(set(sizes)) > 1 else 0)
        return tuple(blocks)

    def start(self, key: jax.Array, width: jax.Array | int) -> Any:
        """Return initial weights for a width, padded with zeros to the shapes of the widest model."""
        branches = [
            lambda key, model=model, width=width: self._filled(model.init(key), width)
            for model, width in zip(self.models, self.widths, strict=True)
        ]
        listed = jnp.asarray(self.widths)
        drawn = jax.lax.switch(jnp.searchsorted(listed, width), branches, key)
        return jax.tree.map(lambda leaf: jnp.where(jnp.any(listed == width), leaf, jnp.nan), drawn)

    def _filled(self, params: Any, width: int) -> Any:
        widest = self.widths[-1]

        def filled(leaf: jax.Array, shape: tuple[int, ...], blocks: tuple[int, ...]) -> jax.Array:
            split = [(count, width) if count else (size, 1) for count, size in zip(blocks, leaf.shape, strict=True)]
            fill = [pad for count in blocks for pad in ((0, 0), (0, widest - width if count else 0))]
            return jnp.pad(leaf.reshape(sum(split, ())), fill).reshape(shape)

        leaves = map(filled, jax.tree.leaves(params), self._shapes, self._blocks)
        return jax.tree.unflatten(self._structure, list(leaves))

    def masked(self, params: Any, width: jax.Array | int) -> Any:
        """Set the padding in the parameters to 0. The gradient of the padding is then 0 too."""

        def masked(leaf: jax.Array, blocks: tuple[int, ...]) -> jax.Array:
            for axis, count in enumerate(blocks):
                if count:
                    unit = np.arange(leaf.shape[axis]) % self.widths[-1]
                    others = [other for other in range(leaf.ndim) if other != axis]
                    leaf = jnp.where(np.expand_dims(unit, others) < width, leaf, 0)
            return leaf

        leaves = map(masked, jax.tree.leaves(params), self._blocks)
        return jax.tree.unflatten(self._structure, list(leaves))

    def check(self, x: jax.Array) -> None:
        """Raise if padding the model with zero weights changes its outputs."""
        if x.shape[1:] in self._checked:
            return
        rows = np.random.default_rng(0).normal(size=(3, *x.shape[1:]))

        def outputs() -> list[jax.Array]:
            inputs = jnp.asarray(rows, x.dtype)
            # Initial biases of 0 would hide a dependence on the biases.
            narrow = jax.tree.map(lambda leaf: leaf + 0.1, self.models[0].init(jax.random.key(0)))
            return [
                self.models[0].apply(narrow, inputs),
                self.widest.apply(self._filled(narrow, self.widths[0]), inputs),
            ]

        with jax.ensure_compile_time_eval():
            own, padded = (np.asarray(found, float) for found in jax.jit(outputs)())
        if not np.allclose(own, padded, rtol=0, atol=0.01 * np.abs(own).max()):
            raise ValueError(
                f"any_width: padding the model of width {self.widths[0]} to width {self.widths[-1]} with zero weights "
                "changes its outputs; expected layers that ignore units with zero weights. Remove layers that depend "
                "on all units, such as a layer norm or a softmax over units"
            )
        self._checked.add(x.shape[1:])
