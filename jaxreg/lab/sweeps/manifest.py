"""Layout of the results of a sweep: its outputs, its chunks, and the manifest file of a store."""

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
"""Prefix of the names of arrays in a checkpoint. The space avoids a clash with the names of outputs."""
MOST_BYTES = 2**24
_DTYPES = {"bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))} | {
    *("float16", "float32", "float64", "complex64", "complex128")
}
"""Types that both JAX and NumPy have. Outputs of other types are converted to one of these types."""


class DamagedError(ValueError):
    """Error for a stored file whose content has changed since it was written."""


def is_state(name: str) -> bool:
    """Return whether an array with this name is part of a checkpoint (the states of the runs in a chunk)."""
    return name.startswith(STATE)


@dataclass(frozen=True)
class Chunks:
    """Division of the runs of a sweep into chunks of equal size. The last chunk may be smaller.

    Args:
        size: Number of runs in the sweep.
        width: Number of runs per chunk.

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
        """Return the indices of the runs in one chunk."""
        return range(number * self.width, min((number + 1) * self.width, self.size))

    def find(self, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the chunk index of each run, and the position of the run in its chunk."""
        return np.divmod(lanes, self.width)


@dataclass(frozen=True)
class Variable:
    """Dimensions, sizes and type of one output of a run."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Size of this output in bytes per run."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Manifest:
    """Description of the results of a sweep: how they were computed, and which arrays there are.

    Args:
        identity: Dict of everything that can change the bits of the results: program, grid, versions, platform.
        dims: Dict from the dimensions of the grid to their sizes. The last dimension varies fastest.
        chunk: Number of runs per chunk.
        coords: Dict from the names of the coordinates to their dimensions. The values are in ``coords.npz``.
        outputs: Dict from the names of the outputs to their layouts.
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
        """Hash that identifies the sweep. It covers everything that can change the results."""
        text = json.dumps({"format": FORMAT, "chunk": self.chunk, **self.identity}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def layout(self) -> tuple[Any, ...]:
        """Dimensions, coordinates and outputs of the results."""
        return self.dims, self.coords, self.outputs

    @property
    def lanes(self) -> int:
        """Number of runs."""
        return math.prod(self.dims.values())

    @property
    def chunks(self) -> Chunks:
        """Division of the runs into chunks."""
        return Chunks(self.lanes, self.chunk)

    def encode(self) -> bytes:
        """Return the manifest as JSON text with a checksum."""
        content = {"format": FORMAT, "sweep": self.sweep, **asdict(self)}
        checksum = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return (json.dumps({"checksum": checksum, **content}, indent=1) + "\n").encode()

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read a manifest from the text that `encode` returns.

        Raises:
            DamagedError: If the text is not JSON, does not match its checksum, or has values that no sweep can have.
            ValueError: If the text has another version of the format.
        """
        content = _parsed(raw)
        if type(content["format"]) is int and content["format"] != FORMAT:
            raise ValueError(
                f"the manifest has format {content['format']}; expected {FORMAT}, the format of this version of jaxreg"
            )
        found = cls(**_checked(content))
        if found.sweep != content["sweep"]:
            raise DamagedError(
                "the manifest is damaged: its entry 'sweep' does not match the hash of 'identity' and 'chunk'"
            )
        return found


def _parsed(raw: bytes) -> dict[str, Any]:
    """Parse the JSON text of a manifest, and check its size and its checksum."""
    if len(raw) > MOST_BYTES:
        raise DamagedError(f"the manifest is damaged: the file has more than {MOST_BYTES} bytes")
    try:
        content = json.loads(raw, object_pairs_hook=_distinct, parse_constant=_refuse)
        checksum = content.pop("checksum")
        content["format"]
        intact = checksum == hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        intact = False
    if not intact:
        raise DamagedError("the manifest is damaged: the file is not valid JSON, or its checksum is wrong")
    return dict(content)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("the JSON has two values with the same name")
    return dict(pairs)


def _refuse(number: str) -> None:
    raise ValueError(f"{number} is not valid JSON")


def _checked(content: Mapping[str, Any]) -> dict[str, Any]:
    """Check the fields of a manifest and return them as arguments of `Manifest`.

    Allocates no arrays, because a damaged manifest may state sizes that exceed the memory.
    """
    names = {"format", "sweep", *Manifest.__dataclass_fields__}
    if content.keys() != names:
        raise DamagedError(
            f"the manifest is damaged: it has the entries {', '.join(content)[:80]}; expected "
            f"{', '.join(sorted(names))}"
        )
    _expect(type(content["format"]) is int, "format", "an integer", content)
    for name in ("identity", "dims", "coords", "outputs", "attrs"):
        _expect(isinstance(content[name], dict), name, "a JSON object", content)
        odd = next((each for each in content[name] if not _printable(each)), None)
        _expect(odd is None, name, f"names that can be printed, but one name is {odd!r:.40}", content)
    for name in ("identity", "coords"):
        for key, value in content[name].items():
            _expect(_printable(value), key, "a printable text", content[name], f" in {name!r}")
    dims, coords = content["dims"], content["coords"]
    _expect(bool(dims) and all(map(_count, dims.values())), "dims", "one or more sizes of at least 1", content)
    _expect(math.prod(dims.values()) < 2**63, "dims", "fewer than 2**63 runs", content)
    _expect(_count(content["chunk"]) and content["chunk"] < 2**31, "chunk", "1 to 2**31 - 1 runs", content)
    outputs = {name: _variable(name, value) for name, value in content["outputs"].items()}
    _expect(bool(outputs), "outputs", "at least one output", content)
    if "keep" in (kept := content["identity"]):
        _expect(
            _is_rule(kept["keep"], outputs),
            "keep",
            "a number of runs, the output to rank them by, and the outputs to keep",
            kept,
            " in 'identity'",
        )
    sizes = dict(dims)
    for name, output in outputs.items():
        clash = next((dim for dim in (name, *output.dims) if dim in dims), None)
        expected = (
            f"other names than those of the axes, but the output {name[:40]!r} or one of its dimensions has the name "
            f"of the axis {clash!r:.40}"
        )
        _expect(clash is None, "outputs", expected, content)
        for dim, size in zip(output.dims, output.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                raise DamagedError(
                    f"the manifest is damaged: the dimension {dim[:40]!r} has size {size} in output {name[:40]!r}; "
                    f"expected {sizes[dim]}, its size in another output"
                )
    for dim in coords.values():
        if dim not in sizes:
            raise DamagedError(
                f"the manifest is damaged: its entry 'coords' has a coordinate along {dim[:40]!r}; expected a "
                f"dimension of the sweep or of its outputs ({', '.join(sizes)[:80]})"
            )
    expected = f"a coordinate for each dimension of the grid ({', '.join(dims)[:80]})"
    _expect(set(coords.values()) >= dims.keys(), "coords", expected, content)
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
        raise DamagedError(
            f"the manifest is damaged: its entry for output {name[:40]!r} is {_short(value)}; expected valid dims, "
            "shape and dtype"
        )
    return Variable(tuple(value["dims"]), tuple(value["shape"]), value["dtype"])


def _is_rule(text: str, outputs: Mapping[str, Variable]) -> bool:
    """Tell whether a text is a valid rule for large outputs, as `Best.written` returns it."""
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


def _expect(right: bool, name: str, expected: str, content: Mapping[str, Any], place: str = "") -> None:
    if not right:
        raise DamagedError(
            f"the manifest is damaged: its entry {name[:40]!r}{place} is {_short(content[name])}; expected {expected}"
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
