"""Traced functions whose short loops leave out products with a state of zeros.

Recurrent networks start with a state of zeros. So in the first step of a sequence, the product of the state with the
recurrent kernel is zero. In the gradient of that kernel, so is the term of the first step. XLA on a CPU computes both.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
from jax import lax

_ARRANGING = ("broadcast_in_dim", "convert_element_type", "reshape", "slice", "split", "squeeze", "transpose")
"""Operations on one array whose results are zero if it is zero."""


def with_first_steps_apart(jaxpr: Any, is_short: Callable[[Any], bool]) -> Any:
    """Return a traced function with the same results, in which products with a state of zeros are not computed.

    The step that has such products is computed outside of its loop: the first step of a loop that starts with zeros,
    and the first or last step of a loop over the states of an earlier one, as in gradients. Only numbers that are
    infinite or NaN make a difference, as their product with zero is now zero.

    Args:
        jaxpr: A traced function, ``traced.jaxpr.jaxpr``. Functions inside of it stay as they are.
        is_short: Whether an equation is a loop to change. Loops of two steps, and those with
            effects, stay as they are.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> def run(w, rows):
        ...     return jax.lax.scan(lambda h, row: (jnp.tanh(h @ w + row), None), jnp.zeros((2, 3)), rows)[0]
        >>> before = jax.make_jaxpr(run)(jnp.ones((3, 3)), jnp.ones((5, 2, 3))).jaxpr
        >>> after = with_first_steps_apart(before, lambda equation: equation.primitive.name == "scan")
        >>> [e.params["length"] for j in (before, after) for e in j.eqns if e.primitive.name == "scan"]
        [5, 4]
    """
    zeros: set[Any] = set()
    zero_entries: dict[Any, int] = {}  # array -> index along its first axis at which it is zero
    names: dict[Any, Any] = {}
    equations: list[Any] = []

    def named(variables: Sequence[Any]) -> list[Any]:
        return [var if _is_literal(var) else names.get(var, var) for var in variables]

    for equation in jaxpr.eqns:
        if _arranges_zeros(equation, zeros):
            zeros.update(equation.outvars)
        apart = None
        if is_short(equation) and equation.params["length"] > 2 and not equation.effects:
            apart = _apart(equation, zeros, zero_entries)
            zero_entries |= _kept_states(equation, zeros)
        if apart is None:
            equations.append(equation.replace(invars=named(equation.invars)))
            continue
        names.update(zip(apart.invars, named(equation.invars), strict=True))
        equations += [inner.replace(invars=named(inner.invars)) for inner in apart.eqns]
        names.update(zip(equation.outvars, named(apart.outvars), strict=True))
    return jaxpr.replace(eqns=equations, outvars=named(jaxpr.outvars))


def _arranges_zeros(equation: Any, zeros: Collection[Any]) -> bool:
    """Tell whether all results of an equation are zero because it only arranges an array of zeros."""
    if equation.primitive.name not in _ARRANGING:
        return False
    array = equation.invars[0]
    if not _is_literal(array):
        return array in zeros
    return jnp.issubdtype(array.aval.dtype, jnp.number) and not array.aval.shape and bool(array.val == 0)


def _parts(equation: Any, variables: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
    """Divide the operands of a loop, or the inputs of its body, into constants, states and rows."""
    constants, states = equation.params["num_consts"], equation.params["num_carry"]
    return variables[:constants], variables[constants : constants + states], variables[constants + states :]


def _ends(equation: Any) -> tuple[int, int]:
    """Return the indices of the rows that a loop takes in its first and in its last step."""
    ends = 0, equation.params["length"] - 1
    return ends[::-1] if equation.params["reverse"] else ends


def _kept_states(equation: Any, zeros: Collection[Any]) -> dict[Any, int]:
    """Return the results of a loop that are the states before each step, with the index at which they are zero."""
    body, count = equation.params["jaxpr"].jaxpr, equation.params["num_carry"]
    _, starts, _ = _parts(equation, equation.invars)
    _, states, _ = _parts(equation, body.invars)
    zero = {state for state, start in zip(states, starts, strict=True) if not _is_literal(start) and start in zeros}
    kept = zip(equation.outvars[count:], body.outvars[count:], strict=True)
    return {var: _ends(equation)[0] for var, state in kept if not _is_literal(state) and state in zero}


def _apart(equation: Any, zeros: Collection[Any], zero_entries: dict[Any, int]) -> Any:
    """Return what a loop computes with its first or last step apart, or None if neither has products with zeros."""
    body = equation.params["jaxpr"].jaxpr
    _, starts, rows = _parts(equation, equation.invars)
    _, states, entries = _parts(equation, body.invars)
    for first, index in zip((True, False), _ends(equation), strict=True):
        known = {entry for entry, var in zip(entries, rows, strict=True) if zero_entries.get(_key(var)) == index}
        if first:
            known |= {state for state, var in zip(states, starts, strict=True) if _key(var) in zeros}
        step = _without_products_of_zeros(body, known) if known else None
        if step is not None:
            return _divided(equation, step, first, index)
    return None


def _key(var: Any) -> Any:
    return None if _is_literal(var) else var


def _without_products_of_zeros(jaxpr: Any, zeros: Collection[Any]) -> Any:
    """Return a function some of whose inputs are zero without products with these, or None if it has none."""
    zeros = set(zeros)
    equations: list[Any] = []
    for equation in jaxpr.eqns:
        is_product = equation.primitive.name == "dot_general" and equation.outvars[0].aval.shape
        product = is_product and any(_key(var) in zeros for var in equation.invars)
        if product or _arranges_zeros(equation, zeros):
            zeros.update(equation.outvars)
        if product:
            aval = equation.outvars[0].aval
            (made,) = jax.make_jaxpr(lambda aval=aval: jnp.zeros(aval.shape, aval.dtype))().jaxpr.eqns
            equation = made.replace(outvars=equation.outvars)
        equations.append(equation)
    changed = any(new is not old for new, old in zip(equations, jaxpr.eqns, strict=True))
    return jaxpr.replace(eqns=equations) if changed else None


def _divided(equation: Any, step: Any, first: bool, index: int) -> Any:
    """Return a traced function that computes a loop with one step apart.

    Args:
        equation: The loop.
        step: The body of the loop for that step.
        first: Whether that step is the first one, or the last one.
        index: Index of the row of that step.
    """
    params, count = equation.params, equation.params["num_carry"]
    alone = jax.extend.core.jaxpr_as_fun(jax.extend.core.ClosedJaxpr(step, params["jaxpr"].consts))
    others = (1, params["length"]) if index == 0 else (0, index)
    types = [var.aval.dtype for var in equation.outvars[count:]]

    def run(*operands: Any) -> list[Any]:
        constants, state, rows = _parts(equation, operands)

        def one(state: Any) -> tuple[Any, Any]:
            found = alone(*constants, *state, *(lax.index_in_dim(array, index, keepdims=False) for array in rows))
            kept = (lax.expand_dims(array, (0,)) for array in found[count:])  # some may be plain numbers
            return found[:count], list(map(lax.convert_element_type, kept, types))

        def loop(state: Any) -> tuple[Any, Any]:
            rest = [lax.slice_in_dim(array, *others) for array in rows]
            found = equation.primitive.bind(*constants, *state, *rest, **params | {"length": params["length"] - 1})
            return found[:count], found[count:]

        state, earlier = (one if first else loop)(state)
        state, later = (loop if first else one)(state)
        parts = zip(*((later, earlier) if params["reverse"] else (earlier, later)), strict=True)
        return [*state, *(lax.concatenate(pair, 0) for pair in parts)]

    return jax.make_jaxpr(run)(*(var.aval for var in equation.invars)).jaxpr


def _is_literal(var: Any) -> bool:
    return hasattr(var, "val")
