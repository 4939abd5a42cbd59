"""The optional packages that an export needs are checked before it begins."""

from __future__ import annotations

from importlib.util import find_spec

from training.errors import InputError

__all__ = ["PACKAGES", "require_packages"]

#: Those of the extra `export`.
PACKAGES = ("safetensors", "onnx", "onnxscript", "onnxruntime")


def require_packages() -> None:
    """Refuse to begin without them.

    Raises:
        InputError: names those that are missing and how to install them.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(f"export needs {', '.join(missing)}: pip install -e '.[export]' in the clone")
