"""Layout of the results of a sweep: variables, lanes in chunks, and the manifest that a store begins with."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

FORMAT = 1
STATE = " state"
"""First part of the names of the arrays of a state. No name of an output begins with a space."""
MOST_BYTES = 2**24
_DTYPES = {"bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))} | {
    *("float16", "float32", "float64", "complex64", "complex128")
}
"""Types that JAX shares with NumPy: the outputs of a sweep are widened to them."""


class DamagedError(ValueError):
    """Error for a stored file whose content has changed since it was written."""


def is_state(name: str) -> bool:
    """Tell whether an array of a chunk belongs to the state, not to the outputs."""
    return name.startswith(STATE)


@dataclass(frozen=True)
class Chunks:
    """The lanes of a sweep in chunks of one width, of which the last may be shorter.

    Args:
        size: Number of lanes.
        width: Lanes per chunk.

    Example:
        >>> chunks = Chunks(size=10, width=4)
        >>> len(chunks), chunks.lanes(2)
        (3, range(8, 10))
    """

    size: int
    width: int

    def __len__(self) -> int:
        """Return the number of chunks."""
        return -(-self.size // self.width)

    def lanes(self, number: int) -> range:
        """Return the lanes of one chunk."""
        return range(number * self.width, min((number + 1) * self.width, self.size))

    def find(self, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of the chunk that holds each lane, and the place of the lane in that chunk."""
        return np.divmod(lanes, self.width)


@dataclass(frozen=True)
class Variable:
    """One output of a lane: its inner dimensions, their sizes, its type."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes per lane."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Manifest:
    """Description of the results of a sweep: their origin and their layout.

    Args:
        identity: Name -> everything that the bits depend on (program, grid, versions, platform).
        dims: Dimensions of the grid and their sizes, slowest first.
        chunk: Lanes per chunk.
        coords: Coordinate -> the dimension it lies along; the values are in ``coords.npz``.
        outputs: Variable -> its inner layout.
        attrs: Attributes of the dataset.
    """

    identity: dict[str, str]
    dims: dict[str, int]
    chunk: int
    coords: dict[str, str]
    outputs: dict[str, Variable]
    attrs: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def sweep(self) -> str:
        """The hash that names this sweep."""
        text = json.dumps({"format": FORMAT, "chunk": self.chunk, **self.identity}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def layout(self) -> tuple[Any, ...]:
        """Dimensions, coordinates and outputs, which follow from the sweep."""
        return self.dims, self.coords, self.outputs

    @property
    def lanes(self) -> int:
        """The number of lanes."""
        return math.prod(self.dims.values())

    @property
    def chunks(self) -> Chunks:
        """The lanes in chunks."""
        return Chunks(self.lanes, self.chunk)

    def encode(self) -> bytes:
        """Return the manifest as JSON with its own checksum."""
        content = {"format": FORMAT, "sweep": self.sweep, **asdict(self)}
        checksum = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return (json.dumps({"checksum": checksum, **content}, indent=1) + "\n").encode()

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read what `encode` wrote.

        Raises:
            DamagedError: If it is not JSON, not as it was written, or describes what no sweep has.
            ValueError: If it has another format.
        """
        content = _parsed(raw)
        if type(content["format"]) is int and content["format"] != FORMAT:
            raise ValueError(f"has format {content['format']}; this version reads {FORMAT}")
        found = cls(**_checked(content))
        if found.sweep != content["sweep"]:
            raise DamagedError("is damaged: its sweep is not the hash of its identity")
        return found


def _parsed(raw: bytes) -> dict[str, Any]:
    """Return the content of a manifest whose checksum is right."""
    if len(raw) > MOST_BYTES:
        raise DamagedError(f"is damaged: it has more than {MOST_BYTES} bytes")
    try:
        content = json.loads(raw, object_pairs_hook=_distinct, parse_constant=_refuse)
        checksum = content.pop("checksum")
        content["format"]
        intact = checksum == hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        intact = False
    if not intact:
        raise DamagedError("is damaged")
    return dict(content)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("two values have one name")
    return dict(pairs)


def _refuse(number: str) -> None:
    raise ValueError(f"{number} is no JSON")


def _checked(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a manifest as they are in memory; nothing is allocated by their sizes."""
    if content.keys() != {"format", "sweep", *Manifest.__dataclass_fields__}:
        raise DamagedError(f"is damaged: it holds {', '.join(content)[:80]}")
    _expect(type(content["format"]) is int, "format", "an integer", content)
    for name in ("identity", "dims", "coords", "outputs", "attrs"):
        named = isinstance(content[name], dict) and all(map(_printable, content[name]))
        _expect(named, name, "names with values", content)
    for name in ("identity", "coords"):
        _expect(all(map(_printable, content[name].values())), name, "names with texts", content)
    dims, coords = content["dims"], content["coords"]
    _expect(bool(dims) and all(map(_count, dims.values())), "dims", "names with sizes from 1 on", content)
    _expect(math.prod(dims.values()) < 2**63, "dims", "fewer than 2**63 lanes", content)
    _expect(_count(content["chunk"]) and content["chunk"] < 2**31, "chunk", "1 to 2**31 - 1 lanes", content)
    outputs = {name: _variable(name, value) for name, value in content["outputs"].items()}
    _expect(bool(outputs), "outputs", "at least one", content)
    _expect(
        "keep" not in content["identity"] or _is_rule(content["identity"]["keep"], outputs),
        "identity",
        "a rule of which outputs are kept",
        content,
    )
    sizes = dict(dims)
    for name, output in outputs.items():
        _expect(name not in dims and dims.keys().isdisjoint(output.dims), "outputs", "names that no axis has", content)
        for dim, size in zip(output.dims, output.shape, strict=True):
            _expect(sizes.setdefault(dim, size) == size, "outputs", "one size for each dimension", content)
    _expect(set(coords.values()) <= sizes.keys(), "coords", "names with dimensions", content)
    _expect(set(coords.values()) >= dims.keys(), "coords", "a coordinate along each of dims", content)
    lane = sum(output.nbytes for output in outputs.values())
    _expect(lane * math.prod(dims.values()) < 2**63, "outputs", "fewer than 2**63 bytes", content)
    return {name: content[name] for name in Manifest.__dataclass_fields__} | {"outputs": outputs}


def _variable(name: str, value: Any) -> Variable:
    if (
        not isinstance(value, dict)
        or value.keys() != {"dims", "shape", "dtype"}
        or str(value["dtype"]) not in _DTYPES
        or not isinstance(value["dims"], list)
        or not isinstance(value["shape"], list)
        or not all(_printable(dim) for dim in value["dims"])
        or not all(_count(size, 0) for size in value["shape"])
        or len(value["dims"]) != len(value["shape"])
        or len(set(value["dims"])) != len(value["dims"])
    ):
        raise DamagedError(f"is damaged: output {name[:40]!r} is {str(value)[:80]}, which no sweep has")
    return Variable(tuple(value["dims"]), tuple(value["shape"]), value["dtype"])


def _is_rule(text: str, outputs: Mapping[str, Variable]) -> bool:
    """Tell whether a text is a rule of which runs keep large outputs, as `jaxreg.lab.sweeps.keeping` writes it."""
    try:
        count, by, names = json.loads(text)
        large = [outputs[name] for name in names]
        return _count(count) and by not in names and not outputs[by].shape and all(v.dtype[0] in "fc" for v in large)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _printable(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _count(value: Any, least: int = 1) -> bool:
    return type(value) is int and least <= value < 2**63


def _expect(right: bool, name: str, expected: str, content: Mapping[str, Any]) -> None:
    if not right:
        raise DamagedError(f"is damaged: {name} is {str(content[name])[:80]!r}; expected {expected}")
