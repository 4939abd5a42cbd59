"""Code generation: the functions of a gate system are generated, compiled and kept on disk.

The module of a system consists of a scheme (`dynamics.integrators.kernel`) with its generator expressions written out
for the length of the state, and of the functions that the scheme expects of a system
(`dynamics.integrators.interface`), generated with SymPy. Its text is written once to a cache folder under a name that
is a digest of it, so that numba's own cache can serve every later process: the first use of a system takes some
seconds, later ones none.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numba
import sympy as sp
from sympy.printing.pycode import PythonCodePrinter

from dynamics.gates.ode import DECAY, GateSystem
from dynamics.integrators import kernel as scheme
from dynamics.integrators.fate import Fate
from dynamics.integrators.interface import FASTMATH, OPTIONS
from dynamics.integrators.unrolling import unroll

__all__ = ["assemble", "cache_folder", "define", "kernel", "module_from", "source"]

HEADER = "import math\n\nfrom dynamics.integrators.interface import compiled\n"


def kernel(system: GateSystem, parameters: tuple[str, ...], nonnegative: frozenset[str]) -> ModuleType:
    """Return the module of a system whose parameters are given in this order; its functions compile when called.

    Args:
        system: with a smooth field.
        parameters: their names.
        nonnegative: names of those whose values are all ≥ 0; more can be said of D then.

    Raises:
        ValueError: if the field has a symbol that is neither in the state nor a parameter.
    """
    return module_from(_source(system, parameters, nonnegative))


@functools.lru_cache(maxsize=256)
def _source(system: GateSystem, parameters: tuple[str, ...], nonnegative: frozenset[str]) -> str:
    return source(system, parameters, nonnegative)


def source(system: GateSystem, parameters: tuple[str, ...], nonnegative: frozenset[str] = frozenset()) -> str:
    """Return the text of the module that `kernel` imports; arguments and errors are those of `kernel`."""
    state = tuple(symbol.name for symbol in system.state)
    unknown = sorted({s.name for f in system.field for s in f.free_symbols} - {*state, *parameters})
    if unknown:
        raise ValueError(f"D = {system.difference} has the symbol {unknown[0]}, which is no parameter of the gate")
    parts = [
        *_flags(system, nonnegative),
        define("field", ("x", "p"), system.field, {"x": state, "p": parameters}),
        f"@compiled\ndef decay_of(p):\n    return p[{parameters.index(DECAY.name)}]\n",
    ]
    return assemble(scheme, parts, len(state), len(parameters))


def assemble(scheme: ModuleType, parts: Sequence[str], state: int, parameters: int) -> str:
    """Return the text of a scheme, written out for one system, and of what it expects of the system.

    Args:
        scheme: its module.
        parts: generated definitions.
        state: number of components of the state, norms and θ.
        parameters: number of parameters.
    """
    text = Path(str(scheme.__file__)).read_text(encoding="utf-8")
    lengths = {"COMPONENTS": state, "NORMS": state - 1, "PARAMETERS": parameters}
    fates = [f"{fate.name} = {fate.value}" for fate in Fate]
    return "\n".join([unroll(text, lengths), HEADER, *fates, *parts])


def define(
    name: str, arguments: tuple[str, ...], expressions: tuple[sp.Expr, ...], members: dict[str, tuple[str, ...]]
) -> str:
    """Return the text of a compiled function of tuples, from expressions.

    Args:
        name: of the function.
        arguments: its arguments, in order; each a tuple of numbers.
        expressions: what it returns, as a tuple.
        members: for each argument the names of the symbols it carries.
    """
    places = {
        member: sp.Symbol(f"{argument}_{i}") for argument in arguments for i, member in enumerate(members[argument])
    }
    plain = [e.subs({s: places[s.name] for s in e.free_symbols}) for e in map(sp.sympify, expressions)]
    shared, reduced = sp.cse(plain, symbols=sp.numbered_symbols("part_"))
    code = PythonCodePrinter({"fully_qualified_modules": True}).doprint
    unpack = [f"{', '.join(f'{a}_{i}' for i in range(len(members[a])))}, = {a}" for a in arguments]
    lines = [*unpack, *(f"{symbol} = {code(e)}" for symbol, e in shared)]
    values = ", ".join(f"float({code(e)})" for e in reduced)
    body = "\n    ".join([*lines, f"return ({values},)"])
    return f"@compiled\ndef {name}({', '.join(arguments)}):\n    {body}\n"


def _flags(system: GateSystem, nonnegative: frozenset[str]) -> list[str]:
    """Return what is known of D, given the signs of its parameters.

    What SymPy cannot decide counts as unknown, which is always sound.
    """
    norms = system.weights
    signs = {s: sp.Symbol(s.name, nonnegative=True) for s in system.parameters if s.name in nonnegative}
    difference = system.difference.subs(signs)
    pull = [-sp.simplify(sp.diff(difference, w)) for w in norms]
    second = {(i, j): sp.simplify(sp.diff(f, w)) for i, f in enumerate(pull) for j, w in enumerate(norms)}
    c = sp.Symbol("c", positive=True)
    grown = {w: c * w for w in norms}
    flags = {
        "DECREASING": all(f.is_nonnegative for f in pull),
        "COOPERATIVE": all(f.is_nonnegative for (i, j), f in second.items() if i != j),
        "HOMOGENEOUS": all(sp.simplify(f.subs(grown, simultaneous=True) - c * f) == 0 for f in pull),
        "STEEPENING": all(f.is_nonnegative for f in second.values()),
    }
    return [f"{name} = {bool(value)}" for name, value in flags.items()]


def cache_folder() -> Path:
    """Return the folder of generated modules: `$PRUNING_DYNAMICS_CACHE`, the user's cache, or a temporary one."""
    chosen = os.environ.get("PRUNING_DYNAMICS_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for folder in [Path(chosen)] if chosen else [base / "pruning-dynamics"]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="pruning-dynamics-"))


@functools.cache
def module_from(text: str) -> ModuleType:
    """Import generated source from its file in the cache folder; numba keeps the machine code beside it."""
    digest = hashlib.sha256(f"{numba.__version__}\n{OPTIONS}{FASTMATH}\n{text}".encode()).hexdigest()[:20]
    path = cache_folder() / f"kernel_{digest}.py"
    if not path.exists():
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, suffix=".partial", delete=False, encoding="utf-8"
        ) as new:
            new.write(text)
        Path(new.name).replace(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # numba finds the functions of a cached kernel by their module's name
    spec.loader.exec_module(module)
    return module
