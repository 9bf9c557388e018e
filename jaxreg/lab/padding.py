"""Networks of several widths or depths in one compiled program: a small network is padded with weights that are 0.

A unit adds nothing to the outputs if its incoming and outgoing weights are 0. A residual block adds nothing if all its
weights are 0. So a small network can be stored in arrays with the shapes of the largest network. Because the shapes are
fixed, the size of the network can be a traced number.

The padding is masked: a model replaces it by 0 before it computes its outputs. So the gradient of the padding is 0, and
every common optimiser leaves the padding at 0.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._checks import check_integer
from jaxreg.lab.models import Model
from jaxreg.lab.sweeps.axis_values import values_of

__all__ = ["any_depth", "any_width"]


def any_width(make: Callable[[int], Model], widths: Sequence[int]) -> Callable[[jax.Array | int], Model]:
    """Return a function that makes a `Model` of any of the given layer widths. The width may be a traced number.

    The arrays of all models have the shapes of the widest model. A narrower model starts with the initial weights of
    `make(width)`, padded with zeros. To compute its outputs, a model uses 0 in place of its padding, whatever values
    are stored there. So up to rounding, the padded model trains exactly like the model `make(width)`. Each run takes as
    much time as a run of the widest model.

    Several layers may depend on the width. The length of an axis of a parameter must either be the same for all widths,
    or be k · width for a fixed k. In the second case, the entries of the axis must form k blocks of `width` entries.
    The filters of a convolution (k = 1) and the gates of an LSTM (k = 4) meet this condition.

    A penalty or constraint acts on the padded arrays:

    - L1, L2, weight decay, `MaxNorm` and `NonNeg` have the same effect as on the model `make(width)`. They keep zeros,
      and they do not depend on the number of weights.
    - `UnitNorm` and other rules that change a group of zeros make the padding nonzero. If each unit is a separate
      group, the effect on the units of the model is still the same, because the outputs do not depend on the padding.
      However, the norms `norm/<path>` that `fit` records then include this padding.
    - `MaxRMS`, `Simplex` and other rules that depend on the number of weights have a different effect.

    Args:
        make: Function that takes a width and returns the model of that width, such as
            ``lambda units: linen(MLP(hidden=units), inputs=(2,))``.
        widths: All widths that are used, two or more.

    Raises:
        ValueError: If there are fewer than two different widths, or a width is not a whole number of at least 1. Also
            if the models differ in the paths of their parameters or in the number of axes of a parameter. Also if the
            length of an axis changes with the width but not in proportion to it. The returned function raises if a
            width is not in `widths`. In a sweep over widths, this error is raised before any training. A model raises
            when it is called, if padding with zeros changes its outputs. A layer norm over units causes this error,
            because it also counts the padded units.

    Returns:
        A function from a width to a `Model`. A traced width that is not an axis of a sweep cannot be checked. If such a
        width is not in `widths`, all initial weights are NaN.

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

    Reference: Chen, Goodfellow and Shlens (2016), Net2Net. Their method widens a network in a similar way, but with
    copies of units instead of zeros.
    """
    return _any("width", make, widths)


def any_depth(make: Callable[[int], Model], depths: Sequence[int]) -> Callable[[jax.Array | int], Model]:
    """Return a function from a depth to a `Model` with that number of residual blocks. The number may be traced.

    The arrays of all models have the shapes of the deepest model. A shallower model starts with the initial weights of
    `make(depth)`, and with weights of 0 in the remaining blocks, the padding. To compute its outputs, a model uses 0 in
    place of its padding, whatever values are stored there. So up to rounding, the padded model trains exactly like the
    model `make(depth)`. Each run takes as much time as a run of the deepest model.

    A block must add to its input, x + f(x), and f must give 0 if all its weights are 0, as in
    ``x + Dense(units)(relu(Dense(units)(x)))``. A layer norm inside f is allowed. Each parameter of a model must have
    the same path and shape in all deeper models. So give the output layer a fixed name, as in the example.

    A penalty or constraint acts on each layer as in the model `make(depth)`. `fit` also records a norm `norm/<path>`
    for each kernel of the padding. Such a norm is 0, unless a constraint such as `UnitNorm` makes the stored padding
    nonzero. The outputs do not depend on the stored padding.

    Args:
        make: Function that takes a depth (a number of blocks) and returns the model of that depth.
        depths: All depths that are used, two or more.

    Raises:
        ValueError: If there are fewer than two different depths, or a depth is not a whole number of at least 0. Also
            if a parameter of a model is missing in a deeper model or has another shape there. The returned function
            raises if a depth is not in `depths`. In a sweep over depths, this error is raised before any training. A
            model raises when it is called, if additional blocks with weights of 0 change its outputs.

    Returns:
        A function from a depth to a `Model`. A traced depth that is not an axis of a sweep cannot be checked. If such a
        depth is not in `depths`, all initial weights are NaN.

    Example:
        >>> import jax
        >>> from flax import linen as nn
        >>> from jaxreg.lab import Problem, Recipe, any_depth, fit, linen, sweep, tutorial_moons
        >>> class Residual(nn.Module):
        ...     blocks: int
        ...     @nn.compact
        ...     def __call__(self, x):
        ...         x = nn.Dense(8, name="input")(x)
        ...         for block in range(self.blocks):
        ...             x = x + nn.Dense(8, name=f"block_{block}")(nn.relu(x))
        ...         return nn.Dense(1, name="output")(x)
        >>> model, data = any_depth(lambda blocks: linen(Residual(blocks), (2,)), (0, 1, 4)), tutorial_moons()
        >>> def run(depth, seed):
        ...     problem = Problem(model(depth), data, epochs=20, record_every=20)
        ...     return {"loss": fit(problem, Recipe(), jax.random.key(seed))["test_loss"].values[-1]}
        >>> found = sweep(run, {"depth": [0, 1, 4], "seed": range(2)}, progress=False)
        >>> dict(found.sizes)
        {'depth': 3, 'seed': 2}

    Reference: Chen, Goodfellow and Shlens (2016), Net2Net. Their method deepens a network in a similar way, but with
    identity layers instead of residual blocks with weights of 0.
    """
    return _any("depth", make, depths)


def _any(size: str, make: Callable[[int], Model], sizes: Sequence[int]) -> Callable[[jax.Array | int], Model]:
    ordered = sorted(set(sizes))
    for number in ordered:
        check_integer(number, f"any_{size}: a {size}", 1 if size == "width" else 0)
    if len(ordered) < 2:
        raise ValueError(f"any_{size}: `{size}s` is {sizes!r}; expected two or more different {size}s")
    family = _Family(size, make, ordered)

    def model(number: jax.Array | int) -> Model:
        if unknown := [each for each in values_of(number) if each not in ordered]:
            raise ValueError(f"`{size}` is {unknown[0]}; expected one of {', '.join(map(str, ordered))}")

        def apply(params: Any, x: jax.Array) -> jax.Array:
            family.check(x)
            return family.largest.apply(family.masked(params, number), x)

        return Model(lambda key: family.start(key, number), apply)

    return model


class _Family:
    """Models of several sizes. The size is a width (number of units) or a depth (number of residual blocks)."""

    def __init__(self, size: str, make: Callable[[int], Model], sizes: list[int]) -> None:
        self.models = [make(number) for number in sizes]
        self.size, self.sizes, self.largest, self._checked = size, sizes, self.models[-1], set[tuple[int, ...]]()
        trees = [jax.eval_shape(model.init, jax.random.key(0)) for model in self.models]
        self._structure = jax.tree.structure(trees[-1])
        leaves = list(map(_by_path, trees))
        self._leaves = leaves[-1]
        for number, own in zip(sizes, leaves, strict=True):
            if missing := [path for path in own if path not in self._leaves]:
                raise ValueError(
                    f"any_{size}: the model of {size} {number} has a parameter {missing[0]}, which the model of {size} "
                    f"{sizes[-1]} lacks; expected the same names of layers at every {size}"
                )
        # For each leaf, the smallest size that has it. For each of its axes, the number of blocks of `width` entries,
        # or 0 if the axis has the same size always.
        self._first = {
            path: next(n for n, own in zip(sizes, leaves, strict=True) if path in own) for path in leaves[-1]
        }
        self._blocks = {path: self._blocks_of(path, [own.get(path) for own in leaves]) for path in leaves[-1]}

    def _blocks_of(self, path: str, leaves: list[Any]) -> tuple[int, ...]:
        size, present = (
            self.size,
            [(n, leaf.shape) for n, leaf in zip(self.sizes, leaves, strict=True) if leaf is not None],
        )
        if size == "width" and len(present) < len(leaves):
            raise ValueError(
                f"any_width: only the models of width {present[0][0]} and more have the parameter {path}; expected "
                "the same layers at every width"
            )
        if len({len(shape) for _, shape in present}) > 1 or (
            size == "depth" and len({shape for _, shape in present}) > 1
        ):
            raise ValueError(
                f"any_{size}: {path} has shapes {_listed(shape for _, shape in present)} for {size}s "
                f"{_listed(n for n, _ in present)}; expected "
                + (
                    "one shape. Give each layer a name that does not depend on the depth"
                    if size == "depth"
                    else "the same number of axes"
                )
            )
        blocks = []
        for axis, lengths in enumerate(zip(*(shape for _, shape in present), strict=True)):
            count = lengths[-1] // self.sizes[-1] if size == "width" else 0
            if len(set(lengths)) > 1 and list(lengths) != [count * width for width in self.sizes]:
                raise ValueError(
                    f"any_width: axis {axis} of {path} has sizes {_listed(lengths)} for widths {_listed(self.sizes)}; "
                    "expected sizes in proportion to the width"
                )
            blocks.append(count if len(set(lengths)) > 1 else 0)
        return tuple(blocks)

    def start(self, key: jax.Array, size: jax.Array | int) -> Any:
        """Return initial weights for a size, padded with zeros to the shapes of the largest model."""
        branches = [
            lambda key, model=model, number=number: self._filled(model.init(key), number)
            for model, number in zip(self.models, self.sizes, strict=True)
        ]
        listed = jnp.asarray(self.sizes)
        drawn = jax.lax.switch(jnp.searchsorted(listed, size), branches, key)
        return jax.tree.map(lambda leaf: jnp.where(jnp.any(listed == size), leaf, jnp.nan), drawn)

    def _filled(self, params: Any, size: int) -> Any:
        largest, own = self.sizes[-1], _by_path(params)

        def filled(path: str) -> jax.Array:
            shape, blocks = self._leaves[path].shape, self._blocks[path]
            if path not in own:
                return jnp.zeros(shape, self._leaves[path].dtype)
            leaf = own[path]
            split = [(count, size) if count else (length, 1) for count, length in zip(blocks, leaf.shape, strict=True)]
            fill = [pad for count in blocks for pad in ((0, 0), (0, largest - size if count else 0))]
            return jnp.pad(leaf.reshape(sum(split, ())), fill).reshape(shape)

        return jax.tree.unflatten(self._structure, list(map(filled, self._leaves)))

    def masked(self, params: Any, size: jax.Array | int) -> Any:
        """Set the padding in the parameters to 0. The gradient of the padding is then 0 too."""

        def masked(path: str, leaf: jax.Array) -> jax.Array:
            if self._first[path] > self.sizes[0]:
                leaf = jnp.where(size >= self._first[path], leaf, 0)
            for axis, count in enumerate(self._blocks[path]):
                if count:
                    unit = np.arange(leaf.shape[axis]) % self.sizes[-1]
                    others = [other for other in range(leaf.ndim) if other != axis]
                    leaf = jnp.where(np.expand_dims(unit, others) < size, leaf, 0)
            return leaf

        return jax.tree.unflatten(self._structure, list(map(masked, self._leaves, jax.tree.leaves(params))))

    def check(self, x: jax.Array) -> None:
        """Raise if padding the model with zero weights changes its outputs."""
        if x.shape[1:] in self._checked:
            return
        rows = np.random.default_rng(0).normal(size=(3, *x.shape[1:]))
        # A scale that depends on the width shows between any two widths. Without blocks, their scale does not show.
        smaller = list(zip(self.models, self.sizes, strict=True))[: 1 if self.size == "width" else -1]

        def outputs() -> list[tuple[jax.Array, jax.Array]]:
            inputs = jnp.asarray(rows, x.dtype)
            found = []
            for model, number in smaller:
                # Initial biases of 0 would hide a dependence on the biases.
                params = jax.tree.map(lambda leaf: leaf + 0.1, model.init(jax.random.key(0)))
                found.append((model.apply(params, inputs), self.largest.apply(self._filled(params, number), inputs)))
            return found

        with jax.ensure_compile_time_eval():
            pairs = [[np.asarray(found, float) for found in pair] for pair in jax.jit(outputs)()]
        for (own, padded), (_, number) in zip(pairs, smaller, strict=True):
            if np.allclose(own, padded, rtol=0, atol=0.01 * np.abs(own).max()):
                continue
            advice = (
                "layers that ignore units with zero weights. Remove layers that depend on all units, such as a layer "
                "norm or a softmax over units"
                if self.size == "width"
                else "blocks that add to their input, and add 0 if all their weights are 0, such as "
                "x + Dense(units)(relu(x))"
            )
            raise ValueError(
                f"any_{self.size}: padding the model of {self.size} {number} to {self.size} {self.sizes[-1]} "
                f"with zero weights changes its outputs; expected {advice}"
            )
        self._checked.add(x.shape[1:])


def _by_path(tree: Any) -> dict[str, Any]:
    # Paths, not structures: a module of Equinox holds its sizes in the structure of its tree.
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def _listed(items: Iterable[Any]) -> str:
    return ", ".join(map(str, items))
