"""`python -m dynamics basin`: compute a basin map, or continue one."""

from __future__ import annotations

import ast
import math
import operator
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import sympy as sp
import tyro
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from dynamics.basins import Agreement, Axis, Map, Options, compute
from dynamics.commands.arguments import parse
from dynamics.gates.bilinear import BilinearGate
from dynamics.gates.gate import Gate
from dynamics.gates.general import GeneralGate, smooth_gate
from dynamics.gates.linear import LinearGate

__all__ = ["Basin", "main"]

Range = tuple[float, float, int]

#: Of an axis; a row of the map, all values of the axes but the first, is in memory at once.
MOST_VALUES = 1_000_000
#: Of a map: hours of computing.
MOST_STATES = 10_000_000_000
#: Letters of --difference, and the largest power in it: SymPy works with every digit of a number.
MOST_LETTERS, MOST_POWER = 1000, 100


@dataclass(frozen=True)
class Basin:
    """Map where every state of a grid ends: zero, alive, diverged, undecided or failed.

    The result is a zarr store that xarray opens (`xarray.open_zarr(OUTPUT)`), with the fate, its time and the
    number of steps of each cell. The same call on an unfinished output continues it.
    """

    output: tyro.conf.Positional[Path]
    """Folder of the store."""
    system: Literal["linear", "bilinear", "smooth", "general"] = "linear"
    """smooth: D = −slope·ρ − curvature·ρ²/2; general: any D given as --difference."""
    difference: str | None = None
    """D as an expression in ρ (any name), or in the product of two norms, as in --difference=-a*rho (with =, since it
    begins with a minus); for --system general."""
    values: dict[str, float] = field(default_factory=dict)
    """The other symbols of D, as NAME VALUE …; for smooth: slope and curvature."""
    decay: float = 0.1
    """λ."""
    coupling: float = 1.0
    """η."""
    cost: float = 0.5
    """κ."""
    rate: float = 1.0
    """r."""
    rho: Range = (0.0, 2.0, 1000)
    """Norms: first, last, how many. With two norms and no --rho-out both take the same value."""
    rho_out: Range | None = None
    """The second norm, as an axis of its own."""
    theta: Range = (0.0, 1.0, 1000)
    """θ: first, last, how many."""
    method: Literal["adaptive", "exact"] = "adaptive"
    """exact: the closed form, for the linear gate."""
    rtol: float = 1e-6
    """Relative error of a step."""
    atol: float = 1e-9
    """Absolute error of a step."""
    horizon: float = 1e6
    """Time after which a state is undecided."""
    max_steps: int = 100_000
    """Steps after which a state is undecided."""
    block: int = 250_000
    """States in memory at once."""
    threads: int = 0
    """0 for one a core."""
    cluster: str | None = None
    """Address of a Dask scheduler, such as tcp://head:8786; by default this process computes."""


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status: 0 done, 2 bad input."""
    options = parse(Basin, "python -m dynamics basin", arguments)
    console = Console(stderr=True)
    command = shlex.join(["python", "-m", "dynamics", "basin", *arguments])
    try:
        if options.threads < 0:
            raise ValueError(f"threads must be ≥ 0; got {options.threads}")
        task = task_of(options)
        start = time.perf_counter()
        with _bar(console) as bar:
            line = bar.add_task("states", total=None)
            agreement = compute(
                task,
                options.output,
                block=options.block,
                threads=options.threads or None,
                cluster=options.cluster,
                attributes={"command": command, "version": _version()},
                progress=lambda done, total: bar.update(line, completed=done, total=total),
            )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.output}: {agreement.cells:,} states in {time.perf_counter() - start:.1f} s")
    print(report(task, agreement))
    return 0


def report(task: Map, agreement: Agreement) -> str:
    """Return the agreement in words."""
    share = agreement.agree / agreement.cells
    lines = [f"fate and certificate agree in {agreement.agree:,} cells of {agreement.cells:,} ({share:.6%})"]
    lines.append(f"certified but not zero: {agreement.wrong:,}; zero but not certified: {agreement.missed:,}")
    if not task.sharp:
        lines[-1] += " (norms are unequal: the certificate is sufficient, not necessary)"
    if agreement.farthest:
        lines.append(f"farthest disagreement: {agreement.farthest:.2g} from the separatrix along θ")
    if agreement.unclear:
        lines.append(f"undecided or failed: {agreement.unclear:,}")
    return "\n".join(lines)


def task_of(options: Basin) -> Map:
    """Return the map that the options describe.

    Raises:
        ValueError: for options that do not fit one another or are out of range.
    """
    if not math.isfinite(options.coupling):
        raise ValueError(
            f"coupling must be finite and ≥ 0: no state's fate is known without a bound; got {options.coupling}"
        )
    _check_grid(options)
    gate = _gate(options)
    norms = [weight.name for weight in gate.system.weights]
    if options.rho_out is not None and len(norms) == 1:
        raise ValueError(f"--rho-out is for two norms; the {options.system} gate has one")
    if options.method == "exact" and options.system != "linear":
        raise ValueError(f"--method exact is for the linear gate; got {options.system}")
    if options.rho_out is None:
        axes = [Axis("rho", *options.rho, tuple(norms))]
    else:
        axes = [Axis(norms[0], *options.rho, (norms[0],)), Axis(norms[1], *options.rho_out, (norms[1],))]
    axes.append(Axis("theta", *options.theta, ("theta",)))
    follow = Options(options.method, options.rtol, options.atol, options.horizon, options.max_steps)
    return Map(gate, tuple(axes), follow)


def _check_grid(options: Basin) -> None:
    """Refuse a grid that nobody waits for, before an array of its size is made."""
    ranges = {"rho": options.rho, "theta": options.theta}
    if options.rho_out is not None:
        ranges["rho-out"] = options.rho_out
    for name, (_, _, count) in ranges.items():
        if count > MOST_VALUES:
            raise ValueError(f"{name} must have at most {MOST_VALUES:,} values; got {count:,}")
    states = math.prod(max(count, 0) for _, _, count in ranges.values())
    if states > MOST_STATES:
        raise ValueError(f"rho and theta must make a grid of at most {MOST_STATES:,} states; got {states:,}")


def _gate(options: Basin) -> Gate:
    own = {name: getattr(options, name) for name in ("decay", "coupling", "cost", "rate")}
    if (options.difference is not None) != (options.system == "general"):
        raise ValueError("--difference and --system general belong together")
    if options.values and options.system not in ("smooth", "general"):
        raise ValueError(f"--values is for smooth and general gates; got --system {options.system}")
    if options.system == "linear":
        return LinearGate(**own)
    if options.system == "bilinear":
        return BilinearGate(**own)
    if options.system == "smooth":
        if set(options.values) != {"slope", "curvature"}:
            raise ValueError("--system smooth needs --values slope S curvature C")
        return smooth_gate(**options.values, **own)
    assert options.difference is not None
    try:
        _check_expression(options.difference)
        difference = sp.sympify(options.difference)
    except (sp.SympifyError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"--difference is no expression: {options.difference} ({type(error).__name__})") from None
    return GeneralGate(difference, None, **options.values, **own)


def _check_expression(text: str) -> None:
    """Refuse everything but arithmetic and elementary functions: SymPy would run any other Python in the text.

    Example:
        >>> _check_expression("-a*rho - log(1 + rho**2)")
        >>> _check_expression("__import__('os')")
        Traceback (most recent call last):
        ValueError: --difference may hold numbers, names, + - * / ** and exp, log, sqrt, sin, cos, tanh, atan; got Call
    """
    if len(text) > MOST_LETTERS:
        raise ValueError(f"--difference must have at most {MOST_LETTERS} letters; got {len(text)}")
    plain = (ast.Expression, ast.BinOp, ast.UnaryOp, *_OPERATIONS, ast.UAdd, ast.USub, ast.Name, ast.Load)
    for node in ast.walk(ast.parse(text, mode="eval")):
        number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
        known = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
        if not (number or known or isinstance(node, plain)):
            raise ValueError(
                f"--difference may hold numbers, names, + - * / ** and {', '.join(_FUNCTIONS)};"
                f" got {type(node).__name__}"
            )
    _number(ast.parse(text, mode="eval").body)


def _number(node: ast.expr) -> float | None:
    """The number that an expression without names is, in double precision; None for one with names.

    Raises:
        ValueError: for a part that is a number beyond double precision, or none, or a power above `MOST_POWER`: SymPy
            would compute every digit of it.

    Example:
        >>> _number(ast.parse("2 * 3**2", mode="eval").body), _number(ast.parse("2 * rho", mode="eval").body)
        (18.0, None)
        >>> _number(ast.parse("rho * 9**9**9", mode="eval").body)
        Traceback (most recent call last):
        ValueError: --difference may hold powers up to 100; got 9 ** 9 ** 9
    """
    parts = [_number(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr) and not _named(part)]
    known = [part for part in parts if part is not None]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        power = _number(node.right)
        if power is not None and abs(power) > MOST_POWER:
            raise ValueError(f"--difference may hold powers up to {MOST_POWER}; got {ast.unparse(node)}")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and _number(node.right) == 0:
        raise ValueError(f"--difference must hold numbers within double precision; got {ast.unparse(node)}")
    if isinstance(node, ast.Name) or len(known) < len(parts):
        return None
    try:
        value = _OF_NUMBERS[type(node)](node, known)
        fits = math.isfinite(value) and (value != 0 or not (isinstance(node, ast.BinOp) and _vanished(node, known)))
    except (ArithmeticError, ValueError, TypeError):  # 1/0, log(−1), exp(1000), a root of a negative number
        fits = False
    if not fits:
        raise ValueError(f"--difference must hold numbers within double precision; got {ast.unparse(node)}")
    return value


def _named(node: ast.expr) -> bool:
    """Whether it is the name of a function that is called."""
    return isinstance(node, ast.Name) and node.id in _FUNCTIONS


def _vanished(node: ast.BinOp, parts: list[float]) -> bool:
    """Whether a product, quotient or power of numbers is 0 for want of digits only."""
    return (
        isinstance(node.op, ast.Mult | ast.Div | ast.Pow)
        and parts[0] != 0
        and (not isinstance(node.op, ast.Mult) or parts[1] != 0)
    )


_OPERATIONS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}  # fmt: skip
_OF_NUMBERS: dict[type, Callable[[Any, list[float]], float]] = {
    ast.Constant: lambda node, _: float(node.value),
    ast.UnaryOp: lambda node, parts: -parts[0] if isinstance(node.op, ast.USub) else parts[0],
    ast.BinOp: lambda node, parts: float(_OPERATIONS[type(node.op)](*parts)),
    ast.Call: lambda node, parts: getattr(math, node.func.id)(*parts),
}

_FUNCTIONS = ("exp", "log", "sqrt", "sin", "cos", "tanh", "atan")


class _Rate(ProgressColumn):
    """States a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


def _bar(console: Console) -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), _Rate(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), *columns, console=console)


def _version() -> str:
    try:
        return version("pruning-dynamics")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "not installed"
