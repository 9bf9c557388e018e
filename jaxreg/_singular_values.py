"""Functions that change the singular values of a matrix: clip them, lower their sum, or set all of them to 1.

Some functions use an SVD, others only matrix products. A matrix is written as U diag(s) Vᵀ. For a complex matrix, Vᵀ
stands for the conjugate transpose.

The results have the form U diag(f(s)) Vᵀ with an odd function f. The derivatives of U and V are infinite where singular
values coincide or are 0, but the derivative of U diag(f(s)) Vᵀ is finite. The functions with an SVD compute this
derivative by the formula of Daleckii and Krein.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._complex import adjoint
from jaxreg._groups import simplex_rows
from jaxreg._precision import eps, tiny

# Odd polynomials a x + b x³ + c x⁵ that are composed (Amsel et al., The Polar Express, 2025). Each is the best
# approximation of 1 on the interval onto which those before it map [10⁻³, 1]. Seven leave an error of 5e-10 there. The
# last three improve smaller singular values. The coefficients come from Remez's algorithm for this interval.
STEPS = (
    (8.470328803848073, -25.108074706661885, 18.62927559911802),
    (4.1828341832939415, -3.1087011098892425, 0.5806066813500494),
    (3.9618572789616016, -2.9540637463593797, 0.5629761179538967),
    (3.286586217027957, -2.4647201345312792, 0.5073576938614542),
    (2.2737499944340405, -1.6446603679080718, 0.41619092749788705),
    (1.8887161973518287, -1.2651572253386003, 0.3765189255574905),
    (1.8750008858719778, -1.2500009843168656, 0.3750000984452185),
    (1.875, -1.25, 0.375),
    (1.875, -1.25, 0.375),
    (1.875, -1.25, 0.375),
)


def _scaled(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    # Squares of 1e30 overflow, and squares of 1e-30 underflow.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), initial=0))
    scale = jnp.where(largest > tiny(x.dtype), largest, 1)
    return x / scale, scale


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


@jax.custom_jvp
def clipped(x: jax.Array, limit: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Clip the singular values of the matrix `x` at `limit`. Also return the largest singular value of `x`."""
    return _clipped(x, limit)[:2]


def _clipped(x: jax.Array, limit: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
    scaled, scale = _scaled(x)
    u, s, vt = jnp.linalg.svd(scaled, full_matrices=False)
    values = jnp.minimum(s, limit / scale)
    return _product(u * values[None], vt) * scale, s[0] * scale, (u, s, vt, values, scale)


@clipped.defjvp
def _clipped_jvp(primals: Any, tangents: Any) -> Any:
    value, largest, (u, s, vt, values, _) = _clipped(*primals)
    dx, dlimit = tangents
    over = s > values
    moved = _free_along(u, s, vt, values, ~over, dx) + dlimit * _product(jnp.where(over[None], u, 0), vt)
    return (value, largest), (moved, jnp.real(_product(_product(jnp.conj(u[:, 0]), dx), jnp.conj(vt[0]))))


@jax.custom_jvp
def lowered(x: jax.Array, total: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Lower all singular values of the matrix `x` by the same amount, but not below 0. Their new sum is `total`.

    If the old sum is at most `total`, the singular values are not changed. Also return the old sum.
    """
    return _lowered(x, total)[:2]


def _lowered(x: jax.Array, total: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
    scaled, scale = _scaled(x)
    u, s, vt = jnp.linalg.svd(scaled, full_matrices=False)
    inside = jnp.sum(s) * scale <= total
    values = jnp.where(inside, s, simplex_rows(s[None], (total / scale).reshape(1, 1))[0])
    return _product(u * values[None], vt) * scale, jnp.sum(s) * scale, (u, s, vt, values, inside)


@lowered.defjvp
def _lowered_jvp(primals: Any, tangents: Any) -> Any:
    value, before, (u, s, vt, values, inside) = _lowered(*primals)
    dx, dtotal = tangents
    free = inside | (values > 0)
    ds = jnp.sum(jnp.real(_product(adjoint(u), dx) * jnp.conj(vt)), axis=1)
    # The values above 0 share the change of their sum and of `total` equally.
    shared = (dtotal - jnp.sum(jnp.where(free, ds, 0))) / jnp.sum(free, dtype=s.dtype)
    moved = _free_along(u, s, vt, values, free, dx) + jnp.where(inside, 0, shared) * _product(
        jnp.where(free[None], u, 0), vt
    )
    return (value, before), (moved, jnp.sum(ds))


@jax.custom_jvp
def sum_of_values(x: jax.Array) -> jax.Array:
    """Return the sum of the singular values of the matrix `x`. Singular values of 0 add nothing to the gradient."""
    return jnp.sum(jnp.linalg.svd(x, compute_uv=False))


@sum_of_values.defjvp
def _sum_of_values_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    directions, total = _directions(x)
    return total, jnp.sum(jnp.real(jnp.conj(directions) * dx))


@jax.custom_jvp
def _directions(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    # U Vᵀ without singular values of 0, which is the gradient of their sum; and the sum.
    u, s, vt = jnp.linalg.svd(x, full_matrices=False)
    return _product(jnp.where(s > s[0] * eps(s.dtype), u, 0), vt), jnp.sum(s)


@_directions.defjvp
def _directions_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    directions, total = _directions(x)
    u, s, vt = jnp.linalg.svd(x, full_matrices=False)
    turned = _turned(u, s, vt, s > s[0] * eps(s.dtype), dx)
    return (directions, total), (turned, jnp.sum(jnp.real(jnp.conj(directions) * dx)))


def _turned(u: jax.Array, s: jax.Array, vt: jax.Array, kept: jax.Array, dx: jax.Array) -> jax.Array:
    # The derivative of U Vᵀ along dx, without the singular values that are not kept.
    inverse = jnp.where(kept, 1 / jnp.where(kept, s, 1), 0)
    one, both = kept[:, None] ^ kept[None, :], kept[:, None] & kept[None, :]
    slopes = jnp.where(one, jnp.maximum(inverse[:, None], inverse[None, :]), 0)  # if one is 0, 1 / the other
    means = jnp.where(both, 2 / jnp.where(both, s[:, None] + s[None, :], 1), slopes)
    return _along(u, vt, slopes, means, inverse, dx)


@jax.custom_jvp
def polar(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return U Vᵀ from the SVD `x` = U S Vᵀ: the nearest matrix whose singular values are all 1.

    Also return the largest distance of a singular value of `x` from 1. If `x` has singular values of 0, several
    matrices are equally near, and the SVD decides which of them is returned. Infinite parts of the derivative are then
    set to 0.
    """
    return _polar(x)[:2]


def _polar(x: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
    scaled, scale = _scaled(x)
    u, s, vt = jnp.linalg.svd(scaled, full_matrices=False)
    return _product(u, vt), jnp.max(jnp.abs(s * scale - 1)), (u, s, vt, scale)


@polar.defjvp
def _polar_jvp(primals: Any, tangents: Any) -> Any:
    value, farthest, (u, s, vt, scale) = _polar(*primals)
    zero = s <= s[0] * eps(s.dtype)
    sums = s[:, None] + s[None, :]
    dead = zero[:, None] & zero[None, :]
    means = jnp.where(dead, 0, 2 / jnp.where(dead, 1, sums))
    ratios = jnp.where(zero, 0, 1 / jnp.where(zero, 1, s))
    moved = _along(u, vt, jnp.zeros_like(means), means, ratios, tangents[0] / scale)
    return (value, farthest), (moved, jnp.zeros_like(farthest))


def _along(
    u: jax.Array, vt: jax.Array, slopes: jax.Array, means: jax.Array, ratios: jax.Array, dx: jax.Array
) -> jax.Array:
    # The derivative of U f(s) Vᵀ along dx. It scales the symmetric part of Uᵀ dx V by (f_i - f_j)/(s_i - s_j), the skew
    # part by (f_i + f_j)/(s_i + s_j), and the part outside the spaces of U and V by f/s.
    inner = _product(_product(adjoint(u), dx), adjoint(vt))
    symmetric, skew = (inner + adjoint(inner)) / 2, (inner - adjoint(inner)) / 2
    moved = _product(_product(u, slopes * symmetric + means * skew), vt)
    # A square U or V has no space outside. The rounding error there, divided by a small singular value, would be large.
    if u.shape[0] > u.shape[1]:
        moved += _product((_product(dx, adjoint(vt)) - _product(u, inner)) * ratios[None], vt)
    if vt.shape[1] > vt.shape[0]:
        moved += _product(u, ratios[:, None] * (_product(adjoint(u), dx) - _product(inner, vt)))
    return moved


def _free_along(
    u: jax.Array, s: jax.Array, vt: jax.Array, values: jax.Array, free: jax.Array, dx: jax.Array
) -> jax.Array:
    # The derivative for an f with slope 1 at the `free` singular values and slope 0 at the others.
    slope = free.astype(s.dtype)
    alike = free[:, None] == free[None, :]
    gaps = jnp.where(alike, 1, s[:, None] - s[None, :])
    # If one of two is free, the quotient is in [0, 1]. Clip it, because rounding may leave the interval.
    slopes = jnp.where(alike, slope, jnp.clip((values[:, None] - values[None, :]) / gaps, 0, 1))
    sums = s[:, None] + s[None, :]
    means = jnp.where(sums > 0, (values[:, None] + values[None, :]) / jnp.where(sums > 0, sums, 1), slope)
    ratios = jnp.where(s > 0, values / jnp.where(s > 0, s, 1), slope)
    return _along(u, vt, slopes, means, ratios, dx)


def norm_by_products(x: jax.Array) -> jax.Array:
    """Return an upper bound on the largest singular value of `x`: (Σ σ_i⁸)^⅛ over all singular values σ_i.

    With k singular values, the bound is at most k^⅛ times the largest singular value.
    """
    gram = _product(adjoint(x), x)
    return jnp.sqrt(jnp.sqrt(jnp.linalg.norm(_product(gram, gram))))


def polar_by_products(x: jax.Array) -> jax.Array:
    """Compute U Vᵀ for `x` = U S Vᵀ by matrix products only, which is far faster than an SVD on GPUs and TPUs.

    Singular values above a thousandth of the largest one become 1, with an error of at most 1e-5. Smaller singular
    values may end below 1.
    """
    if x.shape[0] < x.shape[1]:
        return polar_by_products(x.T).T
    y, _ = _scaled(x)
    gram = _product(adjoint(y), y)
    # (Σ σ_i⁸)^⅛, a tighter bound of the largest singular value than the Frobenius norm.
    fourth = jnp.linalg.norm(_product(gram, gram) / float(x.size) ** 2)  # an integer square would overflow int32
    bound = jax.lax.stop_gradient(jnp.sqrt(jnp.sqrt(fourth))) * x.size**0.5
    y = y / jnp.where(bound > 0, bound * 1.00001, 1)
    for a, b, c in STEPS:
        gram = _product(adjoint(y), y)
        y = a * y + _product(y, b * gram + c * _product(gram, gram))
    return y


def clipped_by_products(x: jax.Array, limit: jax.Array) -> jax.Array:
    """Clip the singular values of `x` at `limit` by matrix products, with an error of about 1e-4 · limit.

    For limit 1, the result is (X + O - (X - O) S) / 2. Here O is U Vᵀ. S is Oᵀ X - I with its eigenvalues replaced by
    their signs. For small singular values, O is inexact, but O cancels in the result.

    If the root mean square of the singular values exceeds 30 · limit, the result is limit · O. In this case, rounding
    errors would make X - O useless.
    """
    if x.shape[0] < x.shape[1]:
        return clipped_by_products(x.T, limit).T
    y = x / limit
    o = polar_by_products(y)
    excess = _product(adjoint(o), y)
    excess = (excess + adjoint(excess)) / 2 - jnp.eye(y.shape[1], dtype=y.dtype)
    exact = limit * (y + o - _product(y - o, polar_by_products(excess))) / 2
    far = jnp.linalg.norm(y / jnp.maximum(jnp.max(jnp.abs(y), initial=0), 1)) * jnp.maximum(jnp.max(jnp.abs(y)), 1)
    return jnp.where(far > 30 * x.shape[1] ** 0.5, limit * o, exact)


def matrix_sign(x: jax.Array, fast: bool) -> jax.Array:
    """Set the nonzero singular values of the matrix `x` to 1. Use matrix products if `fast`, else an SVD."""
    if fast:
        return polar_by_products(x)
    return _matrix_sign(x)


@jax.custom_jvp
def _matrix_sign(x: jax.Array) -> jax.Array:
    u, s, vt = jnp.linalg.svd(x, full_matrices=False)
    ends = jnp.where(s > eps(s.dtype) * max(x.shape) * s[0], u, 0) @ vt
    return jnp.where(jnp.isfinite(s[0]), ends, jnp.nan)


@_matrix_sign.defjvp
def _matrix_sign_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    u, s, vt = jnp.linalg.svd(x, full_matrices=False)
    return _matrix_sign(x), _turned(u, s, vt, s > eps(s.dtype) * max(x.shape) * s[0], dx)


@jax.custom_jvp
def leading(x: jax.Array) -> jax.Array:
    """Return the gradient of the largest singular value of `x`: u₁ v₁ᵀ, with the first singular vectors u₁ and v₁."""
    u, _, vt = jnp.linalg.svd(x, full_matrices=False)
    return jnp.outer(u[:, 0], vt[0])


@leading.defjvp
def _leading_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    u, s, vt = jnp.linalg.svd(x, full_matrices=False)
    first = (jnp.arange(len(s)) == 0).astype(s.dtype)
    rises, gaps, sums = first[:, None] - first[None, :], s[:, None] - s[None, :], s[:, None] + s[None, :]
    both = first[:, None] + first[None, :]
    slopes = jnp.where(gaps == 0, 0, rises / jnp.where(gaps == 0, 1, gaps))  # 0 where the largest values coincide
    means, ratios = (
        jnp.where(below > 0, above / jnp.where(below > 0, below, 1), 0) for above, below in ((both, sums), (first, s))
    )
    return jnp.outer(u[:, 0], vt[0]), _along(u, vt, slopes, means, ratios, dx)
