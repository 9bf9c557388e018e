"""Detection of operations whose last bits depend on the number of cores, because XLA or LAPACK divides them.

The limits come from measurements with jaxlib 0.10.2. Results on one core and on two cores were compared. The last bits
differed for:

- sums of more than 32,768 numbers
- matrix products with 6 million multiplications and sums of 10,000 terms
- matrix products with 36 million multiplications and sums of 330 terms
- factorisations of matrices with 220 rows

The last bits were equal for:

- matrix products with 40 million multiplications and sums of 512 terms
- matrix products with 26 million multiplications and sums of 1,024 terms
- factorisations of matrices with 200 rows
"""

import math
from typing import Any

from jaxreg.lab.sweeps.chunk_size import bodies

_PRODUCT, _SUMMED, _LARGEST = 2**20, 2**10, 2**24
_SUM = 2**15
_ROWS = 128
_FACTORIZATIONS = frozenset(
    [
        "cholesky",
        "eig",
        "eigh",
        "geqp3",
        "geqrf",
        "hessenberg",
        "householder_product",
        "lu",
        "ormqr",
        "qr",
        "schur",
        "svd",
        "triangular_solve",
        "tridiagonal",
    ]
)


def is_split(jaxpr: Any) -> bool:
    """Return whether the number of CPU cores may change the last bits of a run's results.

    Args:
        jaxpr: Traced function of one lane, ``traced.jaxpr.jaxpr``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> small, large = (jax.ShapeDtypeStruct((size, size), "float32") for size in (50, 500))
        >>> [is_split(jax.jit(lambda x: x @ x.T).trace(x).jaxpr.jaxpr) for x in (small, large)]
        [False, True]
    """
    return any(_is_large(equation) or any(map(is_split, bodies(equation))) for equation in jaxpr.eqns)


def factorizes(jaxpr: Any, stacks: bool = False) -> bool:
    """Return whether a run factorises matrices or solves linear systems.

    On a CPU, JAX uses LAPACK for these operations.

    Args:
        jaxpr: Traced function of one lane, ``traced.jaxpr.jaxpr``.
        stacks: Whether to count only operations on stacks of matrices (arrays with more than two axes).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> lane = jax.jit(jnp.linalg.qr).trace(jnp.zeros((3, 3))).jaxpr.jaxpr
        >>> factorizes(lane), factorizes(lane, stacks=True)
        (True, False)
    """
    return any(
        (_is_factorization(equation) and (not stacks or any(len(shape) > 2 for shape in _shapes(equation))))
        or any(factorizes(body, stacks) for body in bodies(equation))
        for equation in jaxpr.eqns
    )


def _is_factorization(equation: Any) -> bool:
    return equation.primitive.name in _FACTORIZATIONS


def _shapes(equation: Any) -> list[tuple[int, ...]]:
    return [getattr(var.aval, "shape", ()) for var in equation.invars]


def _is_large(equation: Any) -> bool:
    name, shapes = equation.primitive.name, _shapes(equation)
    if name in ("reduce_sum", "reduce_prod", "reduce"):
        return math.prod(shapes[0]) > _SUM
    if _is_factorization(equation):
        return any(len(shape) > 1 and max(shape[-2:]) >= _ROWS for shape in shapes)
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return _is_large_product(equation, math.prod(shapes[0][axis] for axis in contracted))
    if name == "conv_general_dilated":
        features = shapes[1][equation.params["dimension_numbers"].rhs_spec[0]]
        return _is_large_product(equation, math.prod(shapes[1]) // max(1, features))
    return False


def _is_large_product(equation: Any, summed: int) -> bool:
    product = math.prod(equation.outvars[0].aval.shape) * summed
    return product > (_PRODUCT if summed >= _SUMMED else _LARGEST)
