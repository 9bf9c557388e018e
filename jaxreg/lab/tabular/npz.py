"""Reader of NumPy's .npz files as tables."""

import io
import math
import zipfile
from collections.abc import Collection, Mapping

import numpy as np

from jaxreg.lab.tabular.columns import Columns, _unread


def _npz(raw: bytes, name: str, wanted: Mapping[str, bool] | None, without: Collection[str]) -> Columns:
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            for member in archive.infolist():
                key = member.filename.removesuffix(".npy")
                arrays[key] = _member(archive, member, name, unread=_unread(key, wanted, without))
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, KeyError, zipfile.zlib.error):  # type: ignore[attr-defined]
        raise ValueError(_damaged(name)) from None
    columns = Columns()
    for key, array in arrays.items():
        flat = {key: array} if array.ndim == 1 else {f"{key}.{i}": column for i, column in enumerate(array.T)}
        for column, values in flat.items():
            if column in columns:
                raise ValueError(f"two columns of {name} are named {column!r}. Rename one of them")
            columns[column] = values
    if len(lengths := {len(values) for values in columns.values()}) > 1:
        raise ValueError(
            f"the arrays of {name} have different numbers of rows, {sorted(lengths)}; expected the same number"
        )
    return columns


def _damaged(name: str) -> str:
    return f"{name} is not an .npz file, or is incomplete; expected a file written by numpy.savez"


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, *, unread: bool) -> np.ndarray:
    whole = _damaged(name)
    if member.compress_size * 1100 < member.file_size:  # deflate compresses by a factor of at most 1032
        raise ValueError(whole)
    with archive.open(member) as file:
        try:
            version = np.lib.format.read_magic(file)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, fortran, dtype = header(file)
        except (ValueError, KeyError):
            raise ValueError(whole) from None
        if dtype.kind not in "biuf":
            if unread and len(shape) == 1 and shape[0] >= 0:
                return np.broadcast_to(np.nan, shape)
            raise ValueError(f"the array {member.filename} of {name} is of type {dtype}; expected numbers")
        if len(shape) not in (1, 2):
            raise ValueError(
                f"the array {member.filename} of {name} has shape {shape}; expected (rows,) or (rows, columns)"
            )
        content = file.read(member.file_size)
    if any(size < 0 for size in shape) or len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(whole)
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
    with np.errstate(over="ignore"):
        return array.astype(np.float64)
