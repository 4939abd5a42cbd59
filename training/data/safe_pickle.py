"""Pickles of plain values and byte arrays are read without running anything that they name.

CIFAR-10 is published as pickles, and a pickle is a program: it may name any importable function and have it
called. Here each of the few names that a pickled byte array needs stands for a small recorder in this module,
so no outside code, NumPy's included, is driven by the file. Every other name is refused.
"""

import io
import pickle
from typing import Any

import numpy as np

__all__ = ["loads"]


class _ByteType:
    """Stand-in for ``numpy.dtype`` that admits unsigned bytes only."""

    def __init__(self, code: str | bytes, *_: object):
        if code not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"holds an array of type {code!r}; only bytes ('u1') are expected")

    def __setstate__(self, state: object) -> None:
        pass  # byte order and alignment, which one byte does not have


class _ByteArray:
    """Stand-in for the empty array that NumPy makes first and fills from its pickled state afterwards."""

    def __init__(self, *_: object):
        self.values = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[int, tuple[int, ...], _ByteType, bool, bytes]) -> None:
        _, shape, kind, fortran, content = state
        if not isinstance(kind, _ByteType):
            raise pickle.UnpicklingError("holds an array without a type")
        self.values = np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")


def _to_bytes(text: str, encoding: str) -> bytes:
    """Return what ``_codecs.encode`` would, by which Python 3 writes bytes into an old pickle."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"asks for the codec {encoding!r}; only 'latin1' is expected")
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _ByteArray,  # written by NumPy 1 and by Python 2
    ("numpy._core.multiarray", "_reconstruct"): _ByteArray,  # written by NumPy 2
    ("numpy", "ndarray"): "ndarray",  # only ever an argument of the above
    ("numpy", "dtype"): _ByteType,
    ("_codecs", "encode"): _to_bytes,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"names the forbidden {module}.{name}") from None


def loads(content: bytes) -> dict[Any, Any]:
    """Return the dictionary in a pickle, its byte arrays as read-only NumPy arrays.

    Only arrays that are values of the dictionary itself are converted, as in the CIFAR-10 files. Strings of
    Python 2 come out as ``bytes``.

    Args:
        content: the pickle.

    Raises:
        pickle.UnpicklingError: it names anything else than a byte array, is damaged, or holds no dictionary.

    Example:
        >>> loads(pickle.dumps({"data": np.arange(3, dtype=np.uint8), "labels": [7]}))
        {'data': array([0, 1, 2], dtype=uint8), 'labels': [7]}
        >>> loads(pickle.dumps({"data": print}))
        Traceback (most recent call last):
        _pickle.UnpicklingError: names the forbidden builtins.print
    """
    try:
        value = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
        raise pickle.UnpicklingError(f"is damaged ({type(error).__name__}: {error})") from error
    if not isinstance(value, dict):
        raise pickle.UnpicklingError(f"holds a {type(value).__name__}, not a dictionary")
    return {key: item.values if isinstance(item, _ByteArray) else item for key, item in value.items()}
