"""Arrays with named dimensions, for the outputs of a run."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

__all__ = ["Labelled"]


@partial(jax.tree_util.register_dataclass, data_fields=["values"], meta_fields=["dims"])
@dataclass(frozen=True)
class Labelled:
    """An array with named dimensions.

    The object is a pytree with one leaf, `values`; `dims` is static. Functions under jit, vmap and scan can take and
    return it.

    Args:
        values: Array of rank ``len(dims)``.
        dims: Names of the dimensions, outermost first.

    Example:
        >>> import jax.numpy as jnp
        >>> Labelled(jnp.zeros(3), dims=("epoch",)).dims
        ('epoch',)
    """

    values: Any
    dims: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", (self.dims,) if isinstance(self.dims, str) else tuple(self.dims))
