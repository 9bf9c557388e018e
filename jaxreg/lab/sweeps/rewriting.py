"""Traced functions rewritten for XLA on a CPU: the same results up to rounding, by operations that run faster.

Gradients are full of slow operations. XLA runs a convolution by Eigen's kernel only if places, channels and filters are
ordered as that kernel expects. All others run in plain loops, up to a hundred times slower, as does the gradient of a
maximum over windows. A product that sums over the rows of two matrices, as in the gradient of a kernel, is slow unless
the matrix with fewer columns is on the left and transposed in memory.
"""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
from jax import lax

_CALLS = ("jit", "pjit", "scan", "while", "cond", "checkpoint", "remat2", "custom_jvp_call", "custom_vjp_call")
"""Operations whose inner functions are rewritten too."""
_NARROW, _WIDER = 16, 4
"""Most columns of the narrower matrix, and how many times as many the other one has, for a product to be rewritten."""
_FEW = 4
"""Number of columns up to which a product also computes the sums over the rows of the wider matrix."""
_CHANNELS, _WINDOW = 8, 25
"""Most channels or filters, and largest size of the window, with which a convolution is a sum of shifted products."""
_SPECS = (("NWC", "WIO", "NWC"), ("NHWC", "HWIO", "NHWC"), ("NDHWC", "DHWIO", "NDHWC"))


def is_rewritable(jaxpr: Any) -> bool:
    """Tell whether a traced function has operations that `evaluate` replaces.

    Args:
        jaxpr: A traced function, ``traced.jaxpr.jaxpr``.
    """
    return any(_is_slow(equation) or any(map(is_rewritable, _functions(equation))) for equation in jaxpr.eqns)


def has_convolutions(jaxpr: Any, least: int) -> bool:
    """Tell whether a traced function has convolutions that `evaluate` replaces.

    Args:
        jaxpr: A traced function, ``traced.jaxpr.jaxpr``.
        least: Bytes that one of them writes at least.
    """
    return any(
        (_is_convolution(equation) and equation.outvars[0].aval.size * equation.outvars[0].aval.dtype.itemsize >= least)
        or any(has_convolutions(inner, least) for inner in _functions(equation))
        for equation in jaxpr.eqns
    )


def evaluate(jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """Evaluate a traced function by faster operations.

    Args:
        jaxpr: A traced function, ``traced.jaxpr.jaxpr``.
        consts: Its constants.
        arguments: Its arguments.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x, g = jnp.arange(12.0).reshape(4, 3), jnp.arange(64.0).reshape(4, 16)
        >>> closed = jax.make_jaxpr(lambda x, g: jnp.einsum("ru,rf->uf", g, x))(x, g)
        >>> is_rewritable(closed.jaxpr), evaluate(closed.jaxpr, closed.consts, (x, g))[0][:2].tolist()
        (True, [[672.0, 768.0, 864.0], [690.0, 790.0, 890.0]])
    """
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
            waiting.append(_inside(equation))
            continue
        run_waiting()
        left, right = [var.val if hasattr(var, "val") else known[var] for var in equation.invars]
        result, summed = equation.outvars[0], sums.get(id(equation))
        if _is_convolution(equation):
            known[result] = _convolve(left, right, equation.params)
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


def _functions(equation: Any) -> list[Any]:
    """Return the inner functions of an equation that are rewritten with it, such as the body of a loop."""
    if equation.primitive.name not in _CALLS:
        return []
    entries = [item for entry in equation.params.values() for item in (entry if type(entry) is tuple else (entry,))]
    return [getattr(item, "jaxpr", item) for item in entries if hasattr(getattr(item, "jaxpr", item), "eqns")]


def _inside(equation: Any) -> Any:
    """Return an equation with its inner functions rewritten, if that changes them."""

    def rewritten(entry: Any) -> Any:
        if type(entry) is tuple:
            return tuple(map(rewritten, entry))
        inner = getattr(entry, "jaxpr", entry)
        if not hasattr(inner, "eqns") or not is_rewritable(inner):
            return entry
        consts = getattr(entry, "consts", [])
        shapes = [var.aval for var in inner.invars]
        found = jax.make_jaxpr(lambda *arguments: evaluate(inner, consts, arguments))(*shapes)
        return found if hasattr(entry, "consts") else found.jaxpr

    if not any(map(is_rewritable, _functions(equation))):
        return equation
    return equation.replace(params={name: rewritten(entry) for name, entry in equation.params.items()})


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
    narrow, wide = sorted((first, second))
    unequal = 1 < narrow <= _NARROW and wide >= _WIDER * narrow
    return (first, second) if unequal and rows > 1 else None


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
            if not hasattr(wider, "val") and (wider, rows) in sums:
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
    options = params["precision"], params["preferred_element_type"]
    found = lax.dot_general(_barrier(narrow.T), wide, (((1,), (0,)), ((), ())), *options)
    sums = found[-1].reshape((left if swapped else right).shape[count:]) if summed else None
    found = found[:-1] if summed else found
    axes, own = range(left.ndim + right.ndim - 2 * count), left.ndim - count
    if swapped != (permutation is not None and tuple(permutation) == (*axes[own:], *axes[:own])):
        # XLA would fold a transpose of the result into the product, and so undo the change.
        found = jnp.stack(list(found), axis=1).T
    return (found.T if swapped else found).reshape(*left.shape[count:], *right.shape[count:]), sums


def _barrier(arrays: Any) -> Any:
    return lax.optimization_barrier(arrays)  # type: ignore[no-untyped-call]


def _is_convolution(equation: Any) -> bool:
    return equation.primitive.name == "conv_general_dilated" and _is_real(equation) and _is_whole(equation.params)


def _is_whole(params: Any) -> bool:
    places = len(params["dimension_numbers"].lhs_spec) - 2
    return params["feature_group_count"] == params["batch_group_count"] == 1 and 1 <= places <= len(_SPECS)


def _is_real(equation: Any) -> bool:
    """Tell whether all numbers of an equation have a type whose sums lose little by another order."""
    return all(var.aval.dtype in (jnp.float32, jnp.float64) for var in (*equation.invars, *equation.outvars))


def _convolve(x: Any, kernel: Any, params: Any) -> Any:
    """Return a convolution in the order of axes that Eigen expects, or by products."""
    numbers = params["dimension_numbers"]
    batch, feature, *places = numbers.lhs_spec
    outputs, inputs, *window = numbers.rhs_spec
    x = jnp.transpose(x, (batch, *places, feature))
    kernel = jnp.transpose(kernel, (*window, inputs, outputs))
    few = min(kernel.shape[-2:]) <= _CHANNELS or max(params["lhs_dilation"]) > 1
    shifted = few and max(params["window_strides"]) == 1 and prod(kernel.shape[:-2]) <= _WINDOW
    found = _shifted(x, kernel, params) if shifted else _ordered(x, kernel, params)
    batch, feature, *places = numbers.out_spec
    order = {axis: number for number, axis in enumerate((batch, *places, feature))}
    return jnp.transpose(found, [order[axis] for axis in range(found.ndim)])


def _ordered(x: Any, kernel: Any, params: Any) -> Any:
    """Return a convolution whose operands are in order in memory: the barrier keeps XLA from changing it again."""
    padding, apart = list(params["padding"]), params["lhs_dilation"]
    if min(map(min, padding)) < 0:  # XLA:CPU of jaxlib 0.10 then reads foreign memory
        rows = [(low, high, step - 1) for (low, high), step in zip(padding, apart, strict=True)]
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *rows, (0, 0, 0)])
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
