"""Recurrent cells between Flax Linen's layout, a layer a gate, and Keras's, the gates side by side.

In the formulas of an LSTM, i, f and o are the gates and g, Keras's c, is the new content. In those of a GRU, Flax's
gates r and z and content n are Keras's r, z and h, and both keep z of the old state.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Node = Any
"""A tree of dicts."""


def fused(params: Node) -> Node:
    """`params` with the cells of Flax Linen in Keras's layout: kernel, recurrent_kernel and bias."""
    if not isinstance(params, Mapping):
        return params
    cell = _cell(params)
    return cell.join(params) if cell else {name: fused(node) for name, node in params.items()}


def like_cells(like: Node, params: Node) -> Node:
    """`params` in the layout of `like`, the inverse of `fused`: cells are split where `like` has Flax Linen's."""
    if not isinstance(like, Mapping):
        return params
    cell = _cell(like)
    return cell.split(params) if cell else {name: like_cells(node, params[name]) for name, node in like.items()}


def _join_lstm(cell: Node) -> Node:
    return {
        "kernel": jnp.concatenate([cell[f"i{gate}"]["kernel"] for gate in "ifgo"], axis=-1),
        "recurrent_kernel": jnp.concatenate([cell[f"h{gate}"]["kernel"] for gate in "ifgo"], axis=-1),
        "bias": jnp.concatenate([cell[f"h{gate}"]["bias"] for gate in "ifgo"]),
    }


def _split_lstm(weights: Node) -> Node:
    kernels, recurrent, biases = (_gates(weights, name, 4) for name in ("kernel", "recurrent_kernel", "bias"))
    own = {f"i{gate}": {"kernel": kernel} for gate, kernel in zip("ifgo", kernels, strict=True)}
    state = zip("ifgo", recurrent, biases, strict=True)
    return own | {f"h{gate}": {"kernel": kernel, "bias": bias} for gate, kernel, bias in state}


def _join_gru(cell: Node) -> Node:
    # Flax has no bias of the state for the gates: it would only be added to that of the inputs.
    state = cell["hn"]["bias"]
    none = jnp.zeros_like(state)
    inputs = [cell[f"i{gate}"]["bias"] for gate in "zrn"]
    return {
        "kernel": jnp.concatenate([cell[f"i{gate}"]["kernel"] for gate in "zrn"], axis=-1),
        "recurrent_kernel": jnp.concatenate([cell[f"h{gate}"]["kernel"] for gate in "zrn"], axis=-1),
        "bias": jnp.stack([jnp.concatenate(inputs), jnp.concatenate([none, none, state])]),
    }


def _split_gru(weights: Node) -> Node:
    kernels, recurrent = (_gates(weights, name, 3) for name in ("kernel", "recurrent_kernel"))
    (z, state_z), (r, state_r), (n, state_n) = jnp.split(weights["bias"], 3, axis=-1)
    biases = {"z": z + state_z, "r": r + state_r, "n": n}
    own = {f"i{gate}": {"kernel": kernel, "bias": biases[gate]} for gate, kernel in zip("zrn", kernels, strict=True)}
    state = {f"h{gate}": {"kernel": kernel} for gate, kernel in zip("zrn", recurrent, strict=True)}
    return own | state | {"hn": state["hn"] | {"bias": state_n}}


class _Cell(NamedTuple):
    layers: frozenset[str]
    join: Callable[[Node], Node]
    split: Callable[[Node], Node]


_CELLS = [
    _Cell(frozenset(f"{way}{gate}" for way in "ih" for gate in "ifgo"), _join_lstm, _split_lstm),
    _Cell(frozenset(f"{way}{gate}" for way in "ih" for gate in "rzn"), _join_gru, _split_gru),
]


def _cell(node: Mapping[str, Any]) -> _Cell | None:
    return next((cell for cell in _CELLS if cell.layers == set(node)), None)


def _gates(weights: Node, name: str, count: int) -> list[jax.Array]:
    return jnp.split(weights[name], count, axis=-1)
