"""From a gate system to machine code: generate its functions, compile, keep the result on disk.

The source of a system's kernel is its field (from SymPy), vector operations of its length written out, and the
scheme of `dynamics.integrators.kernel`. It is written once to a cache folder under a name that is a digest of its text,
so that numba's own cache can serve every later process: the first use of a system takes some seconds, later
ones none.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numba
import sympy as sp
from sympy.printing.pycode import PythonCodePrinter

from dynamics.gates.ode import DECAY, GateSystem
from dynamics.integrators import kernel as template

__all__ = ["assemble", "cache_folder", "define", "kernel", "module_from", "source"]

MARK = "# ---- from here on: the same for every system ----"
HEADER = "import math\n\nimport numpy as np\nfrom numba import njit\n"
#: error_model="numpy": a division by zero gives inf or NaN, which the step control sees, instead of an exception.
OPTIONS = 'cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"}'


def kernel(system: GateSystem, parameters: tuple[str, ...], nonnegative: frozenset[str]) -> ModuleType:
    """The compiled module of a system whose parameters are given in this order.

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
    """The text of the module `kernel` compiles."""
    state = [symbol.name for symbol in system.state]
    known = {*state, *parameters}
    unknown = sorted({s.name for f in system.field for s in f.free_symbols} - known)
    if unknown:
        raise ValueError(f"D = {system.difference} has the symbol {unknown[0]}, which is no parameter of the gate")
    parts = [
        f"N = {len(state)}",
        *_flags(system, nonnegative),
        define("field", ("x", "p"), system.field, {"x": tuple(state), "p": parameters}),
        f"@njit({OPTIONS})\ndef decay_of(p):\n    return p[{parameters.index(DECAY.name)}]\n",
        _vector_operations(len(state), len(parameters)),
    ]
    scheme = Path(template.__file__).read_text(encoding="utf-8")
    return assemble(parts, scheme, "trajectories", _signature(len(parameters)))


def assemble(parts: list[str], scheme: str, entry: str, signature: str) -> str:
    """Generated `parts` in place of the declarations above a scheme's mark; `entry` is compiled at once."""
    below = scheme.split(MARK)[1].replace(f"@njit\ndef {entry}", f"@njit({signature}, {OPTIONS})\ndef {entry}")
    return "\n".join([HEADER, *parts, below.replace("@njit\n", f"@njit({OPTIONS})\n")])


def define(
    name: str, arguments: tuple[str, ...], expressions: tuple[sp.Expr, ...], members: dict[str, tuple[str, ...]]
) -> str:
    """The text of a compiled function of tuples, from expressions.

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
    return f"@njit({OPTIONS})\ndef {name}({', '.join(arguments)}):\n    {body}\n"


def _flags(system: GateSystem, nonnegative: frozenset[str]) -> list[str]:
    """What is known of D, given the signs of its parameters.

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


def _vector_operations(n: int, m: int) -> str:
    """The declarations of `dynamics.integrators.kernel`, written out for states of length n and m parameters."""
    norms = range(n - 1)

    def vector(term: str, last: str | None = None) -> str:
        items = [term.replace("#", str(i)) for i in range(n)]
        return f"({', '.join(items if last is None else [*items[:-1], last])},)"

    def function(head: str, result: str) -> str:
        return f'@njit({OPTIONS}, inline="always")\ndef {head}:\n    return {result}\n'

    def over(operation: str, items: list[str]) -> str:
        return items[0] if len(items) == 1 else f"{operation}({', '.join(items)})"

    def tolerance(y: str) -> str:
        return f"(atol + rtol * {y})"

    out = []
    for count in range(1, 7):
        pairs = ", ".join(f"{'abcdef'[j]}, k{j}" for j in range(count))
        terms = " + ".join(f"{'abcdef'[j]} * k{j}[#]" for j in range(count))
        out.append(function(f"sum{count}(x, h, {pairs})", vector(f"x[#] + h * ({terms})")))
    six = " + ".join(f"{'abcdef'[j]} * k{j}[#]" for j in range(6))
    largest = vector(f"abs(h * ({six})) / {tolerance('max(abs(x[#]), abs(y[#]))')}")
    out.append(function(f"defect(h, x, y, rtol, atol, {pairs})", f"largest_of({largest})"))
    sizes = vector(f"abs(v[#]) / {tolerance('abs(x[#])')}")
    out.append(function("size(v, x, rtol, atol)", f"largest_of({sizes})"))
    hermite = "r1[#] + s * (r2[#] + (1 - s) * (r3[#] + s * (r4[#] + (1 - s) * r5[#])))"
    out.append(function("interpolate(s, r1, r2, r3, r4, r5)", vector(hermite)))
    out.append(function("interpolate_theta(s, r1, r2, r3, r4, r5)", hermite.replace("#", str(n - 1))))
    out.append(_coefficients(vector))
    out.append(function("with_theta(x, theta)", vector("x[#]", "theta")))
    out.append(function("clamped(x)", vector("max(x[#], 0.0)", f"x[{n - 1}]")))
    out.append(function("scaled(x, c)", vector("x[#] * c", "1.0")))
    out.append(function("constant(value)", vector("value", "1.0")))
    out.append(function("least(x)", over("min", [f"x[{i}]" for i in norms])))
    out.append(function("largest(x)", over("max", [f"x[{i}]" for i in norms])))
    out.append(function("settled(x, k, rate)", " and ".join(f"abs(k[{i}]) <= rate * x[{i}]" for i in norms)))
    out.append(function("finite(x)", " and ".join(f"math.isfinite(x[{i}])" for i in range(n))))
    out.append(function("state_at(state, i)", vector("state[#, i]")))
    chosen = ", ".join(f"parameters[{j}][i if parameters[{j}].shape[0] > 1 else 0]" for j in range(m))
    out.append(function("parameters_at(parameters, i)", f"({chosen},)"))
    nan_aware = "\n".join(f"    if not v[{i}] <= top:\n        top = v[{i}]" for i in range(1, n))
    out.insert(0, f"@njit({OPTIONS})\ndef largest_of(v):\n    top = v[0]\n{nan_aware}\n    return top\n")
    return "\n".join(out)


def _coefficients(vector: object) -> str:
    """Hairer's continuous extension of Dormand-Prince 5(4): DOPRI5, coefficients d1 … d7."""
    d = (
        "-12715105075 / 11282082432", "87487479700 / 32700410799", "-10690763975 / 1880347072",
        "701980252875 / 199316789632", "-1453857185 / 822651844", "69997945 / 29380423",
    )  # fmt: skip
    terms = " + ".join(f"({c}) * k{j}[#]" for c, j in zip(d, (1, 3, 4, 5, 6, 7), strict=True))
    rows = [
        "x[#]",
        "y[#] - x[#]",
        "h * k1[#] - (y[#] - x[#])",
        "2 * (y[#] - x[#]) - h * (k1[#] + k7[#])",
        f"h * ({terms})",
    ]
    assert callable(vector)
    body = ", ".join(vector(row) for row in rows)
    return f"@njit({OPTIONS})\ndef coefficients(h, x, y, k1, k3, k4, k5, k6, k7):\n    return ({body})\n"


def _signature(parameters: int) -> str:
    arrays = ", ".join(["float64[::1]"] * parameters)
    numbers = ", ".join(["float64"] * 5)
    return (
        f'"void(int64, int64, float64[:, ::1], Tuple(({arrays},)), {numbers}, int64, float64[::1], '
        'uint8[::1], float64[::1], int32[::1], float64[:, ::1], float64[:, :, ::1])"'
    )


def cache_folder() -> Path:
    """Where generated kernels live: `$PRUNING_DYNAMICS_CACHE`, or the user's cache folder, or a temporary one."""
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
    digest = hashlib.sha256(f"{numba.__version__}\n{text}".encode()).hexdigest()[:20]
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
