"""Traced functions whose matrix products take and return matrices in the order in which these lie in memory.

Under `vmap`, the product of a kernel with a vector, as in Equinox's layers, becomes a product that has one column per
row of the data. Its result is transposed later, often after it was cut into parts, and so are the gradients that come
back. XLA then computes these products by slow code, and copies the parts in an order that is slow too.
"""

from collections.abc import Sequence
from typing import Any

_PRODUCT = "dot_general"
_PARTS_AND_SUMS = ("slice", "split", "add", "add_any")


def oriented(jaxpr: Any) -> Any:
    """Return a traced function with the same results, in which products need fewer transposes.

    - A product whose result is only used transposed, perhaps in parts or as a part of a sum, is computed transposed.
    - A product whose factor is a transpose, or consists of several transposes, takes what was transposed.

    Args:
        jaxpr: A traced function, ``traced.jaxpr.jaxpr``. Functions inside of it stay as they are.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> before = jax.make_jaxpr(lambda w, x: (w @ x.T).T)(jnp.ones((4, 3)), jnp.ones((9, 3))).jaxpr
        >>> [[str(equation.primitive) for equation in jaxpr.eqns] for jaxpr in (before, oriented(before))]
        [['transpose', 'dot_general', 'transpose'], ['transpose', 'dot_general']]
    """
    return _with_turned_results(_with_given_factors(jaxpr))


def turns_results(jaxpr: Any) -> bool:
    """Return whether `oriented` computes the result of a product transposed."""
    return bool(_turnable(_with_given_factors(jaxpr)))


def exchanged(precision: Any) -> Any:
    """Return the precision of a product whose factors are exchanged. A pair has one entry per factor."""
    return precision[::-1] if type(precision) is tuple else precision


def _with_turned_results(jaxpr: Any) -> Any:
    turnable = _turnable(jaxpr)
    if not turnable:
        return jaxpr
    turned: dict[Any, Any] = {}
    equations = []

    def current(variables: Sequence[Any]) -> list[Any]:
        return [var if _is_literal(var) else turned.get(var, var) for var in variables]

    for equation in jaxpr.eqns:
        if _all_in(turnable, equation):
            turned.update({var: _variable(var, (1, 0)) for var in equation.outvars})
            equations.append(_turned(equation, current(equation.invars), current(equation.outvars)))
        elif _is_turn(equation) and equation.invars[0] in turnable:
            turned[equation.outvars[0]] = turned[equation.invars[0]]
        else:
            equations.append(equation.replace(invars=current(equation.invars)))
    return jaxpr.replace(eqns=equations, outvars=current(jaxpr.outvars))


def _turnable(jaxpr: Any) -> set[Any]:
    """Return the matrices that are products, parts of products or sums of these, and are only used transposed."""
    makers = {var: equation for equation in jaxpr.eqns for var in equation.outvars if _makes(equation, var)}
    users: dict[Any, list[Any]] = {var: [] for var in makers}
    for equation in jaxpr.eqns:
        for var in equation.invars:
            if not _is_literal(var) and var in users:
                users[var].append(equation)
    found = {var for var, maker in makers.items() if any(users.get(part) for part in maker.outvars)}
    found -= {var for var in jaxpr.outvars if not _is_literal(var)}

    def stays(var: Any) -> bool:
        parts = () if makers[var].primitive.name == _PRODUCT else _inputs(makers[var])
        made = all(part is None or part in found for part in parts)
        used = all(_is_turn(user) or (user.primitive.name != _PRODUCT and _all_in(found, user)) for user in users[var])
        return made and used

    while kept := {var for var in found if stays(var)}:
        if kept == found:
            return found
        found = kept
    return set()


def _all_in(variables: set[Any], equation: Any) -> bool:
    """Return whether a set contains all results of an equation."""
    return bool(equation.outvars) and all(var in variables for var in equation.outvars)


def _makes(equation: Any, var: Any) -> bool:
    """Return whether an equation makes a matrix that could as well be made transposed."""
    if len(var.aval.shape) != 2:
        return False
    if equation.primitive.name == _PRODUCT:
        (left, right), batch = equation.params["dimension_numbers"]
        first, second = (len(factor.aval.shape) for factor in equation.invars)
        return not any(batch) and len(left) == 1 and (first, second) == (2, 2) and tuple(right) == (1,)
    return equation.primitive.name in _PARTS_AND_SUMS


def _inputs(equation: Any) -> list[Any]:
    """Return the variables that an equation takes, with None for a number written into it."""
    return [None if _is_literal(var) else var for var in equation.invars]


def _turned(equation: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
    params = dict(equation.params)
    if equation.primitive.name == _PRODUCT:
        (left, right), batch = params["dimension_numbers"]
        params["dimension_numbers"] = ((right, left), batch)
        params["precision"] = exchanged(params["precision"])
        inputs = inputs[::-1]
    elif equation.primitive.name == "split":
        params["axis"] = 1 - params["axis"]
    elif equation.primitive.name == "slice":
        params |= {name: entry and tuple(entry[::-1]) for name, entry in params.items()}
    return equation.replace(invars=list(inputs), outvars=list(outputs), params=params)


def _with_given_factors(jaxpr: Any) -> Any:
    given: dict[Any, tuple[Any, tuple[int, ...]]] = {}  # what was transposed, and how
    factors = {
        var
        for equation in jaxpr.eqns
        if equation.primitive.name == _PRODUCT and not any(equation.params["dimension_numbers"][1])
        for var in equation.invars
        if not _is_literal(var)
    }
    equations = []
    for equation in jaxpr.eqns:
        name, inputs = equation.primitive.name, _inputs(equation)
        if name == "transpose" and inputs[0] is not None:
            given[equation.outvars[0]] = inputs[0], tuple(equation.params["permutation"])
        elif name == "concatenate" and equation.outvars[0] in factors and all(var in given for var in inputs):
            parts, orders = zip(*(given[var] for var in inputs), strict=True)
            if len(set(orders)) == 1:
                order = orders[0]
                whole = _variable(equation.outvars[0], sorted(range(len(order)), key=order.__getitem__))
                params = equation.params | {"dimension": order[equation.params["dimension"]]}
                equations.append(equation.replace(invars=list(parts), outvars=[whole], params=params))
                given[equation.outvars[0]] = whole, order
        elif name == _PRODUCT and not any(equation.params["dimension_numbers"][1]):
            equation = _given(equation, given)
        equations.append(equation)
    return jaxpr.replace(eqns=equations) if given else jaxpr


def _given(equation: Any, given: dict[Any, tuple[Any, tuple[int, ...]]]) -> Any:
    """Return a product of what was transposed, if the axes of the result stay in their order."""
    summed, factors = list(equation.params["dimension_numbers"][0]), list(equation.invars)
    for side, var in enumerate(_inputs(equation)):
        if var in given:
            source, order = given[var]
            free = [axis for place, axis in enumerate(order) if place not in summed[side]]
            if free == sorted(free):
                factors[side], summed[side] = source, [order[place] for place in summed[side]]
    left, right = zip(*sorted(zip(*summed, strict=True)), strict=True) if summed[0] else ((), ())
    return equation.replace(invars=factors, params=equation.params | {"dimension_numbers": ((left, right), ((), ()))})


def _is_turn(equation: Any) -> bool:
    return equation.primitive.name == "transpose" and tuple(equation.params["permutation"]) == (1, 0)


def _is_literal(var: Any) -> bool:
    return hasattr(var, "val")


def _variable(var: Any, order: Sequence[int]) -> Any:
    """Return a new variable for the transpose of another one."""
    return type(var)(var.aval.update(shape=tuple(var.aval.shape[axis] for axis in order)))
