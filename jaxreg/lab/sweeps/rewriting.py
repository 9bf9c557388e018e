"""Traced functions rewritten for XLA on a CPU: the same results up to rounding, by operations that run faster.

Gradients contain several kinds of slow operations:

- Convolutions. Eigen's fast kernel expects a certain order of the spatial axes, channels and filters. XLA runs
  convolutions with another order in plain loops, up to a hundred times slower.
- The gradient of a maximum over windows. XLA runs it in plain loops too.
- Products that sum over the rows of two matrices, as in the gradient of a kernel. They are fast only if the matrix with
  fewer columns is on the left and transposed in memory.
- Products that `vmap` computes transposed, as `jaxreg.lab.sweeps.orientation` describes.
- Loops with few steps inside of other loops, as over the steps of a short sequence. Each step cuts rows out of arrays
  and writes others into them. In the first step, a state of zeros is multiplied, as
  `jaxreg.lab.sweeps.first_steps` describes.
"""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
from jax import lax

from jaxreg.lab.sweeps.chunk_size import bodies
from jaxreg.lab.sweeps.first_steps import with_first_steps_apart
from jaxreg.lab.sweeps.orientation import exchanged, oriented, turns_results
from jaxreg.lab.sweeps.small_sums import inner_functions

_LOOPS = ("scan", "while")
_UNROLLED, _STEPS = 640, 32
"""Most operations that all steps of a loop have together, and most steps, for the loop to be unrolled."""
_NARROW, _WIDER = 16, 4
"""Most columns of a narrow matrix, and how many times as many the other one has. A narrow matrix is transposed in
memory before its product."""
_FEW = 4
"""Number of columns up to which a product also computes the sums over the rows of the wider matrix."""
_CHANNELS, _WINDOW = 8, 25
"""Most channels or filters, and largest size of the window, with which a convolution is a sum of shifted products."""
_PATCH, _FILTERS = 32, 16
"""Most numbers in a window, over all channels, and most filters, with which a convolution is one product of windows
that are laid out as rows. With more filters, Eigen's kernel is faster."""
_SPLIT, _TERMS = 8, 49
"""Most groups of a convolution that are split into one convolution each, and most terms of one that is a sum."""
_SPECS = (("NWC", "WIO", "NWC"), ("NHWC", "HWIO", "NHWC"), ("NDHWC", "DHWIO", "NDHWC"))


def is_rewritable(jaxpr: Any) -> bool:
    """Return whether a traced function has operations that `evaluate` replaces by faster ones.

    Args:
        jaxpr: A traced function, ``traced.jaxpr.jaxpr``.
    """
    return turns_results(jaxpr) or any(
        _is_slow(equation) or any(map(is_rewritable, inner_functions(equation))) for equation in oriented(jaxpr).eqns
    )


def has_convolutions(jaxpr: Any, least: int) -> bool:
    """Return whether a traced function has a large convolution that `evaluate` replaces by faster operations.

    Args:
        jaxpr: A traced function, ``traced.jaxpr.jaxpr``.
        least: Minimum size in bytes of the result of a large convolution.
    """
    return any(
        (_is_convolution(equation) and equation.outvars[0].aval.size * equation.outvars[0].aval.dtype.itemsize >= least)
        or any(has_convolutions(inner, least) for inner in inner_functions(equation))
        for equation in jaxpr.eqns
    )


def has_short_loops(jaxpr: Any, looped: bool = False) -> bool:
    """Return whether a traced function has loops that `evaluate` can unroll: loops of few steps inside of other loops.

    Args:
        jaxpr: A traced function, ``traced.jaxpr.jaxpr``.
        looped: Whether the function is the body of a loop, or part of one.
    """
    for equation in jaxpr.eqns:
        if looped and _is_short(equation):
            return True
        inside = looped or equation.primitive.name in _LOOPS
        if any(has_short_loops(inner, inside) for inner in inner_functions(equation)):
            return True
    return False


def evaluate(
    jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any], unroll: bool = False, looped: bool = False
) -> list[Any]:
    """Evaluate a traced function, with some of its operations replaced by faster ones.

    Args:
        jaxpr: A traced function, ``traced.jaxpr.jaxpr``.
        consts: Constants of the traced function.
        arguments: Arguments of the traced function.
        unroll: Whether to unroll loops of few steps inside of other loops, without products with a state of zeros.
        looped: Whether the function is the body of a loop, or part of one.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x, g = jnp.arange(12.0).reshape(4, 3), jnp.arange(64.0).reshape(4, 16)
        >>> closed = jax.make_jaxpr(lambda x, g: jnp.einsum("ru,rf->uf", g, x))(x, g)
        >>> is_rewritable(closed.jaxpr), evaluate(closed.jaxpr, closed.consts, (x, g))[0][:2].tolist()
        (True, [[672.0, 768.0, 864.0], [690.0, 790.0, 890.0]])
    """
    jaxpr = oriented(with_first_steps_apart(jaxpr, _is_short) if unroll and looped else jaxpr)
    known: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))
    products = _products_for_sums(jaxpr)
    sums = {id(equation): var for var, equation in products.items()}
    permutations = _transposed(jaxpr)
    waiting: list[Any] = []

    def run_waiting() -> None:
        if waiting:
            known.update(_run(jaxpr, waiting, known))
            waiting.clear()

    for equation in jaxpr.eqns:
        result = equation.outvars[0] if equation.outvars else None
        if result in known:  # computed with an earlier product, or sum
            continue
        if result in products:
            run_waiting()
            if all(hasattr(var, "val") or var in known for var in products[result].invars):
                equation = products[result]
        if not _is_slow(equation):
            waiting.append(_inside(equation, unroll, looped))
            continue
        run_waiting()
        left, right = [var.val if hasattr(var, "val") else known[var] for var in equation.invars]
        result, summed = equation.outvars[0], sums.get(id(equation))
        if _is_convolution(equation):
            known[result] = _convolve(left, right, equation)
        elif _is_pooling(equation):
            known[result] = _select(left, right, equation.params)
        else:
            more = summed is not None and summed not in known
            known[result], sums_found = _multiply(left, right, equation, more, permutations.get(result))
            if more:
                known[summed] = sums_found
    run_waiting()
    return [var.val if hasattr(var, "val") else known[var] for var in jaxpr.outvars]


def _run(jaxpr: Any, equations: Sequence[Any], known: dict[Any, Any]) -> dict[Any, Any]:
    """Evaluate some equations of a traced function as they are."""
    made = [var for equation in equations for var in equation.outvars]
    inputs = {var: None for equation in equations for var in equation.invars if not hasattr(var, "val")}
    taken = [var for var in inputs if var in known]
    effects = frozenset().union(*(equation.effects for equation in equations))
    alone = jaxpr.replace(constvars=[], invars=taken, outvars=made, eqns=list(equations), effects=effects)
    run = jax.extend.core.jaxpr_as_fun(jax.extend.core.ClosedJaxpr(alone, []))
    return dict(zip(made, run(*(known[var] for var in taken)), strict=True))


def _inside(equation: Any, unroll: bool, looped: bool) -> Any:
    """Return an equation with its inner functions rewritten, if that changes them. Short loops are unrolled."""
    if unroll and looped and _is_short(equation):
        equation = equation.replace(params=equation.params | {"unroll": equation.params["length"]})
    looped = looped or equation.primitive.name in _LOOPS

    def changes(inner: Any) -> bool:
        return is_rewritable(inner) or (unroll and has_short_loops(inner, looped))

    def rewritten(entry: Any) -> Any:
        if type(entry) is tuple:
            return tuple(map(rewritten, entry))
        inner = getattr(entry, "jaxpr", entry)
        if not hasattr(inner, "eqns") or not changes(inner):
            return entry
        consts = getattr(entry, "consts", [])
        shapes = [var.aval for var in inner.invars]
        found = jax.make_jaxpr(lambda *arguments: evaluate(inner, consts, arguments, unroll, looped))(*shapes)
        return found if hasattr(entry, "consts") else found.jaxpr

    if not any(map(changes, inner_functions(equation))):
        return equation
    return equation.replace(params={name: rewritten(entry) for name, entry in equation.params.items()})


def _is_short(equation: Any) -> bool:
    """Tell whether an equation is a loop that is unrolled: a scan of few steps without loops inside of it."""
    if equation.primitive.name != "scan" or not 2 <= equation.params["length"] <= _STEPS:
        return False
    (body,) = inner_functions(equation)
    return not _has_loops(body) and equation.params["length"] * _operations(body) <= _UNROLLED


def _has_loops(jaxpr: Any) -> bool:
    return any(equation.primitive.name in _LOOPS or any(map(_has_loops, bodies(equation))) for equation in jaxpr.eqns)


def _operations(jaxpr: Any) -> int:
    return sum(sum(map(_operations, bodies(equation))) or 1 for equation in jaxpr.eqns)


def _is_slow(equation: Any) -> bool:
    return _is_convolution(equation) or _is_pooling(equation) or _product(equation) is not None


def _product(equation: Any) -> tuple[int, int] | None:
    """Return the numbers of columns of two matrices that are multiplied over their rows, or None for anything else.

    Rows may have several axes, and come before the columns in both.
    """
    if equation.primitive.name != "dot_general" or not _is_real(equation):
        return None
    (left, right), batch = equation.params["dimension_numbers"]
    if any(batch) or tuple(left) != tuple(range(len(left))) or tuple(right) != tuple(left):
        return None
    first, second = (prod(var.aval.shape[len(left) :]) for var in equation.invars)
    rows = prod(equation.invars[0].aval.shape[: len(left)])
    slow = _is_narrow(first, second) or first > second > 1
    return (first, second) if slow and rows > 1 else None


def _is_narrow(first: int, second: int) -> bool:
    """Tell whether one of two matrices with these numbers of columns is much narrower than the other one."""
    return 1 < min(first, second) <= _NARROW and max(first, second) >= _WIDER * min(first, second)


def _products_for_sums(jaxpr: Any) -> dict[Any, Any]:
    """Return for each sum over rows, as in the gradient of a bias, a product with few columns that can compute it."""
    sums = {
        (equation.invars[0], tuple(equation.params["axes"])): equation.outvars[0]
        for equation in jaxpr.eqns
        if equation.primitive.name == "reduce_sum" and not hasattr(equation.invars[0], "val")
    }
    found = {}
    for equation in jaxpr.eqns if sums else []:
        columns = _product(equation)
        if columns is not None and min(columns) <= _FEW:
            wider = equation.invars[columns[1] > columns[0]]
            rows = tuple(range(len(equation.params["dimension_numbers"][0][0])))
            same = wider.aval.dtype == equation.outvars[0].aval.dtype
            if same and not hasattr(wider, "val") and (wider, rows) in sums:
                found[sums[wider, rows]] = equation
    return found


def _transposed(jaxpr: Any) -> dict[Any, tuple[int, ...]]:
    """Return the arrays that are transposed somewhere, and how."""
    return {
        equation.invars[0]: equation.params["permutation"]
        for equation in jaxpr.eqns
        if equation.primitive.name == "transpose" and not hasattr(equation.invars[0], "val")
    }


def _multiply(
    left: Any, right: Any, equation: Any, summed: bool, permutation: tuple[int, ...] | None
) -> tuple[Any, Any]:
    """Return a product over rows and, if wanted, the sums over the rows of its wider factor.

    Args:
        left: Left factor, rows first.
        right: Right factor, rows first.
        equation: The product as it was.
        summed: Whether to compute the sums.
        permutation: The transpose that the product is passed to, if there is one.
    """
    columns, params = _product(equation), equation.params
    assert columns is not None
    count = len(params["dimension_numbers"][0][0])
    swapped = columns[1] < columns[0]
    first, second = (array.reshape(-1, size) for array, size in zip((left, right), columns, strict=True))
    narrow, wide = (second, first) if swapped else (first, second)
    if summed:
        narrow = jnp.concatenate([narrow, jnp.ones((len(narrow), 1), narrow.dtype)], axis=1)
    precision = exchanged(params["precision"]) if swapped else params["precision"]
    options = precision, params["preferred_element_type"]
    left_factor = _barrier(narrow.T) if _is_narrow(*columns) else narrow.T
    found = lax.dot_general(left_factor, wide, (((1,), (0,)), ((), ())), *options)
    sums = found[-1].reshape((left if swapped else right).shape[count:]) if summed else None
    found = found[:-1] if summed else found
    axes, own = range(left.ndim + right.ndim - 2 * count), left.ndim - count
    if swapped != (permutation is not None and tuple(permutation) == (*axes[own:], *axes[:own])):
        # XLA would fold a transpose of the result into the product, and so undo the change. Stacking prevents this. For
        # a wide matrix it takes too many operations; a barrier prevents most of it.
        found = jnp.stack(list(found), axis=1).T if _is_narrow(*columns) else _barrier(found)
    return (found.T if swapped else found).reshape(*left.shape[count:], *right.shape[count:]), sums


def _barrier(arrays: Any) -> Any:
    return lax.optimization_barrier(arrays)  # type: ignore[no-untyped-call]


def _groups(params: Any) -> int:
    return int(max(params["feature_group_count"], params["batch_group_count"]))


def _terms(equation: Any) -> int:
    """Return how many products of arrays a convolution of groups is the sum, or the list, of."""
    params, (x, kernel) = equation.params, [var.aval.shape for var in equation.invars]
    numbers, groups = params["dimension_numbers"], _groups(params)
    if params["batch_group_count"] > 1:
        places = prod(equation.outvars[0].aval.shape[axis] for axis in numbers.out_spec[2:])
        return int(places * (x[numbers.lhs_spec[0]] // groups))
    return int(prod(kernel) // kernel[numbers.rhs_spec[0]])


def _is_convolution(equation: Any) -> bool:
    """Tell whether an equation is a convolution that is rewritten: one of many groups only if these are small."""
    if equation.primitive.name != "conv_general_dilated" or not _is_real(equation) or not equation.outvars[0].aval.size:
        return False
    places = len(equation.params["dimension_numbers"].lhs_spec) - 2
    few = _groups(equation.params) <= _SPLIT or _terms(equation) <= _TERMS
    return few and 1 <= places <= len(_SPECS)


def _is_real(equation: Any) -> bool:
    """Tell whether all numbers of an equation have a type whose sums lose little by another order."""
    return all(var.aval.dtype in (jnp.float32, jnp.float64) for var in (*equation.invars, *equation.outvars))


def _convolve(x: Any, kernel: Any, equation: Any) -> Any:
    """Return a convolution in the order of axes that Eigen expects, or by products."""
    params, numbers = equation.params, equation.params["dimension_numbers"]
    batch, feature, *places = numbers.lhs_spec
    outputs, inputs, *window = numbers.rhs_spec
    x = jnp.transpose(x, (batch, *places, feature))
    kernel = jnp.transpose(kernel, (*window, inputs, outputs))
    groups, axis = _groups(params), 0 if params["batch_group_count"] > 1 else -1
    summed = groups > 1 and _terms(equation) <= _TERMS
    if summed and (axis != 0 or groups > _SPLIT or len(x) == groups):
        found = _kernels_of_groups(x, kernel, params) if axis == 0 else _by_groups(x, kernel, params)
    else:
        parts = zip(jnp.split(x, groups, axis), jnp.split(kernel, groups, -1), strict=True)
        found = jnp.concatenate([_convolve_whole(*part, params) for part in parts], -1)
    batch, feature, *places = numbers.out_spec
    order = {axis: number for number, axis in enumerate((batch, *places, feature))}
    return jnp.transpose(found, [order[axis] for axis in range(found.ndim)])


def _convolve_whole(x: Any, kernel: Any, params: Any) -> Any:
    if prod(kernel.shape[:-1]) <= _PATCH and max(params["lhs_dilation"]) == 1:
        return _of_patches(x, kernel, params) if kernel.shape[-1] <= _FILTERS else _ordered(x, kernel, params)
    few = min(kernel.shape[-2:]) <= _CHANNELS or max(params["lhs_dilation"]) > 1
    shifted = few and max(params["window_strides"]) == 1 and prod(kernel.shape[:-2]) <= _WINDOW
    return _shifted(x, kernel, params) if shifted else _ordered(x, kernel, params)


def _padded(x: Any, params: Any) -> Any:
    rows = [(low, high, step - 1) for (low, high), step in zip(params["padding"], params["lhs_dilation"], strict=True)]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *rows, (0, 0, 0)])


def _cut(x: Any, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]) -> Any:
    """Return every so many places of an array, batch first and features last."""
    ends = [start + (size - 1) * step + 1 for start, size, step in zip(starts, sizes, steps, strict=True)]
    return lax.slice(x, (0, *starts, 0), (len(x), *ends, x.shape[-1]), (1, *steps, 1))


def _counts(padded: Any, window: Sequence[int], params: Any) -> list[int]:
    """Return how many places a convolution has along each axis."""
    return [
        (length - (size - 1) * apart - 1) // step + 1
        for length, size, apart, step in zip(
            padded.shape[1:-1], window, params["rhs_dilation"], params["window_strides"], strict=True
        )
    ]


def _of_patches(x: Any, kernel: Any, params: Any) -> Any:
    """Return a convolution of few numbers per window as one product of the windows, each laid out as a row."""
    *window, _, filters = kernel.shape
    padded = _padded(x, params)
    sizes, apart = _counts(padded, window, params), params["rhs_dilation"]
    starts = [[place * gap for place, gap in zip(entry, apart, strict=True)] for entry in product(*map(range, window))]
    patches = jnp.concatenate([_cut(padded, start, sizes, params["window_strides"]) for start in starts], -1)
    options = params["precision"], params["preferred_element_type"]
    return lax.dot_general(patches, kernel.reshape(-1, filters), (((x.ndim - 1,), (0,)), ((), ())), *options)


def _by_groups(x: Any, kernel: Any, params: Any) -> Any:
    """Return a convolution of groups of few channels as a sum over the entries of the window and these channels."""
    *window, channels, _ = kernel.shape
    groups, steps, apart = _groups(params), params["window_strides"], params["rhs_dilation"]
    padded = _padded(x, params)
    sizes = _counts(padded, window, params)
    total: Any = 0
    for entry in product(*map(range, window)):
        part = _cut(padded, [place * gap for place, gap in zip(entry, apart, strict=True)], sizes, steps)
        part = part.reshape(*part.shape[:-1], groups, channels)
        weights = kernel[entry].reshape(channels, groups, -1)
        for channel in range(channels):
            total += part[..., channel, None] * weights[channel]
    return total.reshape(*total.shape[:-2], -1)


def _kernels_of_groups(x: Any, kernel: Any, params: Any) -> Any:
    """Return the gradient of the kernel of `_by_groups`: sums of products for each place and row of a group."""
    *window, _, _ = kernel.shape
    groups, steps, apart = _groups(params), params["window_strides"], params["rhs_dilation"]
    padded = _padded(x, params)
    sizes = _counts(padded, window, params)
    rows = jnp.swapaxes(padded, 0, -1)
    weights = jnp.moveaxis(kernel, -2, 0)
    weights = weights.reshape(*weights.shape[:-1], groups, -1)
    own = rows.shape[-1] // groups
    found = []
    for number, entry in product(range(own), product(*map(range, sizes))):
        starts = [place * step for place, step in zip(entry, steps, strict=True)]
        part = _cut(rows, starts, window, apart)
        part = part.reshape(*part.shape[:-1], groups, own)[..., number, None]
        terms = (part * weights).reshape(-1, kernel.shape[-1])
        found.append(jnp.ones((1, len(terms)), terms.dtype) @ terms)
    return jnp.concatenate(found).reshape(own, *sizes, -1)


def _ordered(x: Any, kernel: Any, params: Any) -> Any:
    """Return a convolution whose operands are in order in memory: the barrier keeps XLA from changing it again."""
    padding, apart = list(params["padding"]), params["lhs_dilation"]
    if min(map(min, padding)) < 0:  # XLA:CPU of jaxlib 0.10 then reads foreign memory
        x = _padded(x, params)
        padding, apart = [(0, 0)] * len(padding), [1] * len(padding)
    x, kernel = _barrier((x, kernel))
    return lax.conv_general_dilated(
        x,
        kernel,
        params["window_strides"],
        padding,
        apart,
        params["rhs_dilation"],
        _SPECS[x.ndim - 3],
        precision=params["precision"],
        preferred_element_type=params["preferred_element_type"],
    )


def _shifted(x: Any, kernel: Any, params: Any) -> Any:
    """Return a convolution as one product of the channels for all entries of the window, shifted and added."""
    *window, channels, filters = kernel.shape
    wide = _barrier(jnp.moveaxis(kernel, -2, 0).reshape(channels, -1))
    options = params["precision"], params["preferred_element_type"]
    parts = lax.dot_general(x, wide, (((x.ndim - 1,), (0,)), ((), ())), *options)
    total: Any = 0
    for number, entry in enumerate(product(*map(range, window))):
        rows = [
            (low - place * step, high - (size - 1 - place) * step, apart - 1)
            for place, size, (low, high), step, apart in zip(
                entry, window, params["padding"], params["rhs_dilation"], params["lhs_dilation"], strict=True
            )
        ]
        part = parts[..., number * filters : (number + 1) * filters]
        total += lax.pad(part, jnp.zeros((), part.dtype), [(0, 0, 0), *rows, (0, 0, 0)])
    return total


def _is_pooling(equation: Any) -> bool:
    """Tell whether an equation is the gradient of a maximum over small windows."""
    if equation.primitive.name != "select_and_scatter_add" or not _is_real(equation):
        return False
    params = equation.params
    return params["select_prim"].name == "ge" and prod(params["window_dimensions"]) <= _WINDOW


def _select(gradient: Any, x: Any, params: Any) -> Any:
    """Return the gradient of maxima over windows, which goes to the first largest entry of each window."""
    window, steps, padding = params["window_dimensions"], params["window_strides"], params["padding"]
    padded = lax.pad(x, jnp.array(-jnp.inf, x.dtype), [(low, high, 0) for low, high in padding])
    entries = list(product(*map(range, window)))

    def cut(entry: tuple[int, ...]) -> Any:
        ends = [place + (size - 1) * step + 1 for place, size, step in zip(entry, gradient.shape, steps, strict=True)]
        return lax.slice(padded, entry, ends, steps)

    largest, chosen = cut(entries[0]), jnp.zeros(gradient.shape, jnp.int32)
    for number, entry in enumerate(entries[1:], 1):
        values = cut(entry)
        stays = largest >= values
        largest, chosen = jnp.where(stays, largest, values), jnp.where(stays, chosen, number)
    total: Any = 0
    for number, entry in enumerate(entries):
        part = jnp.where(chosen == number, gradient, 0)
        rows = []
        for axis, (place, step, (low, _)) in enumerate(zip(entry, steps, padding, strict=True)):
            length = (gradient.shape[axis] - 1) * step + 1
            rows.append((place - low, x.shape[axis] - length - place + low, step - 1))
        total += lax.pad(part, jnp.zeros((), part.dtype), rows)
    return total
