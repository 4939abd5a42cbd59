"""Expected complexity of a gated network: a multilinear polynomial in Θ, from its layer shapes (derived here).

The gates ξ_g ~ Ber(θ_g) are independent. A layer joins each of its inputs with each of its outputs: it costs (open
inputs) × (open outputs) × (cost per pair), and nothing where its residual branch is shut. No gate occurs twice in
such a product, so its expectation has θ in place of ξ. With s_X = Σ θ_i over the units of group X, and b the gate
of the branch, a layer from X to Y contributes

    multiply–accumulates   macs · s_X · s_Y · b
    parameters             (weights · s_X + per_output) · s_Y · b

and a fixed number of channels takes the place of s where nothing is gated. So the polynomial is one in group sums
and branch gates; all numbers below are generated from it.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Literal, TypeAlias

import numpy as np
import sympy as sp

from dynamics.numeric import Array, Operands, compile_expressions

__all__ = ["Kind", "Layer", "Structure", "forward_flops", "mixture", "pressure", "training_flops"]

#: What is counted.
Kind: TypeAlias = Literal["macs", "parameters"]

#: Which gates act while R charges for units: all branches run. And while it charges for branches: all units do.
Applied: TypeAlias = Literal["all", "units", "branches"]


def mixture(macs: Array, parameters: Array, beta: Array) -> Array:
    """Return C = (1 − β)·macs + β·parameters, of normalised counts or their derivatives; numbers or expressions."""
    return (1 - beta) * macs + beta * parameters


def pressure(by_units: Array, by_layers: Array, nu: Array, alpha: Array) -> Array:
    """Return R = ν·[(1 − α)·by_units + α·by_layers], of complexities or their derivatives; numbers or expressions."""
    return nu * ((1 - alpha) * by_units + alpha * by_layers)


def forward_flops(macs: int, images: int) -> int:
    """Return floating-point operations of a look at images: 2 a multiply–accumulate, forward only.

    Args:
        macs: multiply–accumulates of one image through the network.
        images: that are sent through it.
    """
    return 2 * macs * images


def training_flops(macs: int, images: int) -> int:
    """Return floating-point operations of a training step: 2 a multiply–accumulate, forward once, backward twice.

    The backward pass multiplies once for the gradient of the inputs and once for that of the weights. (The first layer
    needs no gradient of its inputs; it is counted all the same, as is usual.)

    Args:
        macs: multiply–accumulates of one image through the network.
        images: in the step's batch.
    """
    return 3 * forward_flops(macs, images)


@dataclass(frozen=True)
class Layer:
    """One convolution or dense layer, or a normalisation that belongs to none of them (macs = weights = 0).

    Attributes:
        name: unique among the layers.
        inputs: name of the group of gated units it reads, or a fixed number of channels.
        outputs: name of the group of gated units it writes, or a fixed number of channels.
        macs: multiply–accumulates per joined (input, output) pair: k·k·H_out·W_out for a convolution, 1 if dense.
        weights: parameters per joined pair: k·k for a convolution, 1 if dense.
        per_output: parameters per output: 1 for a bias, 2 for a normalisation's scale and shift.
        branch: the layer gate whose residual branch it belongs to; None where it always runs.

    A depthwise convolution reads one input for each output: `inputs=1`.
    """

    name: str
    inputs: str | int
    outputs: str | int
    macs: int
    weights: int
    per_output: int = 0
    branch: str | None = None


class Structure:
    """The layers of a network and the gates on its units and branches.

    The order of the gates is the same everywhere: the groups of units in the order of `units`, then `branches`.

    Args:
        layers: every layer, in any order.
        units: group name → number of gated units.
        branches: names of the gated residual branches. A name may also be that of a group.
        full_macs, full_parameters: what C is divided by, where this is what is left of a larger network: the counts
            of that network. So the cost of a gate that stays does not rise because others left. Default: the counts
            of this one with every gate open.

    Attributes:
        layers, units, branches: as given.
        gates: G, the number of gates.
        unit_slices: group name → its gates.
        branch_index: branch name → its gate.
        is_branch: for each gate, whether it is a layer gate. [G]
        names: for each gate, a readable name.
        total_macs, total_parameters: counts of this structure with every gate open.
        full_macs, full_parameters: what C is divided by; the same, unless this is what is left of a larger network.

    A group or branch that no layer mentions costs nothing.

    Raises:
        ValueError: for a negative or non-integer count, a duplicate or unknown name, a layer that reads and writes
            the same group (its cost is no product of different gates), a network without multiply–accumulates
            or without parameters, or full counts below the structure's own.

    Example:
        A dense net 3 → 4 → 2 without biases, the four hidden units gated, two of them open:

        >>> layers = [Layer("first", 3, "hidden", 1, 1), Layer("second", "hidden", 2, 1, 1)]
        >>> net = Structure(layers, {"hidden": 4}, [])
        >>> net.polynomial("macs")
        5*units(hidden)
        >>> float(net.macs([1, 1, 0, 0]))
        10.0
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        units: Mapping[str, int],
        branches: Sequence[str],
        *,
        full_macs: int | None = None,
        full_parameters: int | None = None,
    ) -> None:
        self.layers, self.units, self.branches = tuple(layers), dict(units), tuple(branches)
        self._check()
        ends = list(itertools.accumulate(self.units.values(), initial=0))
        self.gates: int = ends[-1] + len(self.branches)
        self.unit_slices = {
            group: slice(*ends_) for group, ends_ in zip(self.units, itertools.pairwise(ends), strict=True)
        }
        self.branch_index = {branch: ends[-1] + i for i, branch in enumerate(self.branches)}
        self.is_branch = np.arange(self.gates) >= ends[-1]
        self.names = [f"{group}[{i}]" for group, count in self.units.items() for i in range(count)]
        self.names += list(self.branches)

        self.unit_symbols = {group: sp.Symbol(f"units({group})", nonnegative=True) for group in self.units}
        self.branch_symbols = {b: sp.Symbol(f"branch({b})", nonnegative=True) for b in self.branches}
        self._symbols = (*self.unit_symbols.values(), *self.branch_symbols.values())
        # Which of the symbols each gate acts through: gate → position in `_symbols`. [G]
        self._owner = np.repeat(np.arange(len(self._symbols)), [*self.units.values(), *(1 for _ in self.branches)])

        self._compiled = functools.cache(self._compile)

        self.total_macs, self.total_parameters = self._full("macs"), self._full("parameters")
        if not self.total_macs or not self.total_parameters:
            raise ValueError(
                "layers must have some macs and some parameters with every gate open; "
                f"got {self.total_macs} and {self.total_parameters}"
            )
        self.full_macs = _at_least("full_macs", full_macs, self.total_macs)
        self.full_parameters = _at_least("full_parameters", full_parameters, self.total_parameters)

    def __reduce__(self) -> tuple[Callable[..., Structure], tuple[object, ...]]:
        """Return the description by which it is pickled and copied: the compiled functions are made again."""
        made = functools.partial(Structure, full_macs=self.full_macs, full_parameters=self.full_parameters)
        return made, (self.layers, self.units, self.branches)

    # ---- symbolic

    def polynomial(self, kind: Kind, applied: Applied = "all") -> sp.Expr:
        """Return the expected count in the symbols `unit_symbols` (sums over groups) and `branch_symbols`.

        Args:
            kind: "macs" or "parameters".
            applied: "units" leaves every branch on, "branches" leaves every unit on.
        """
        return sp.Add(*self._terms(kind, applied))

    def _terms(self, kind: Kind, applied: Applied) -> list[sp.Expr]:
        """Return one product a layer. Kept apart so that derivatives cost time linear in the number of layers."""
        if kind not in ("macs", "parameters"):
            raise ValueError(f"kind must be 'macs' or 'parameters'; got {kind!r}")
        if applied not in ("all", "units", "branches"):
            raise ValueError(f"applied must be 'all', 'units' or 'branches'; got {applied!r}")
        return [self._term(layer, kind, applied) for layer in self.layers]

    def _term(self, layer: Layer, kind: Kind, applied: Applied) -> sp.Expr:
        inputs, outputs = (self._width(end, applied) for end in (layer.inputs, layer.outputs))
        on = layer.branch is None or applied == "units"
        branch = sp.Integer(1) if on else self.branch_symbols[str(layer.branch)]
        per_pair, per_output = (layer.macs, 0) if kind == "macs" else (layer.weights, layer.per_output)
        return (per_pair * inputs + per_output) * outputs * branch

    def _width(self, end: str | int, applied: Applied) -> sp.Expr:
        if not isinstance(end, str):
            return sp.Integer(int(end))
        return sp.Integer(self.units[end]) if applied == "branches" else self.unit_symbols[end]

    def gradient(self, kind: Kind, applied: Applied = "all") -> tuple[sp.Expr, ...]:
        """Return ∂polynomial/∂symbol, for the groups' sums and then the branches; ∂/∂θ_i is that of its group's sum."""
        slopes: dict[sp.Symbol, list[sp.Expr]] = {symbol: [] for symbol in self._symbols}
        for term in self._terms(kind, applied):
            for symbol in term.free_symbols:
                slopes[symbol].append(sp.diff(term, symbol))
        return tuple(sp.Add(*parts) for parts in slopes.values())

    def regulariser(self, nu: sp.Expr, alpha: sp.Expr, beta: sp.Expr) -> sp.Expr:
        """Return R(Θ) as an expression in `unit_symbols` and `branch_symbols`; `objective` is its numeric form."""

        def complexity(applied: Applied) -> sp.Expr:
            macs = self.polynomial("macs", applied) / self.full_macs
            return mixture(macs, self.polynomial("parameters", applied) / self.full_parameters, beta)

        return pressure(complexity("units"), complexity("branches"), nu, alpha)

    # ---- numeric

    def macs(self, theta: Array) -> Array:
        """Return the expected multiply–accumulates at Θ [..., G], in double precision: an exact integer at a vertex.

        Raises:
            ValueError: if Θ has not G entries, or one outside [0, 1].
        """
        return self._count("macs", "all", self._theta(theta))

    def parameters(self, theta: Array) -> Array:
        """Return the expected number of parameters at Θ [..., G]; see `macs`."""
        return self._count("parameters", "all", self._theta(theta))

    def complexity(self, theta: Array, beta: float) -> Array:
        """Return C(Θ) = (1 − β)·macs/full macs + β·parameters/full parameters, 1 for the full network, gates open.

        Args:
            theta: Θ [..., G], in [0, 1].
            beta: what is counted: 0 multiply–accumulates, 1 parameters.

        Raises:
            ValueError: for β outside [0, 1], or a Θ that `macs` refuses.
        """
        return _like(theta, self._weighted(self._theta(theta), _fraction("beta", beta), "all", slopes=False)[..., 0])

    def objective(self, theta: Array, nu: float, alpha: float, beta: float) -> Array:
        """Return R(Θ) = ν·[(1 − α)·C(unit gates applied, layers on) + α·C(units on, layer gates applied)].

        Differentiable where Θ is a torch tensor; `costs` has the gradient in closed form.

        Args:
            theta: Θ [..., G], in [0, 1].
            nu: ν ≥ 0, nats of loss that one would pay for the whole network's complexity.
            alpha: layer against unit pruning: 0 units only, 1 layers only.
            beta: what is counted: 0 multiply–accumulates, 1 parameters.

        Raises:
            ValueError: for a parameter outside its range, or a Θ that `macs` refuses.
        """
        return _like(theta, self._charge(self._theta(theta), nu, alpha, beta, slopes=False)[..., 0])

    def costs(self, theta: Array, nu: float, alpha: float, beta: float) -> Array:
        """Return κ_g = ∂R/∂θ_g [..., G], what each gate is charged; see `objective`.

        Independent of Θ where no two gated groups meet in a layer (basic residual blocks); otherwise a gate's cost
        falls as its neighbours die.
        """
        return _like(theta, self._per_gate(self._charge(self._theta(theta), nu, alpha, beta, slopes=True)))

    def shares(self, beta: float) -> np.ndarray:
        """Return c_g = ∂C/∂θ_g with every gate open: the share of the full complexity that goes with gate g alone. [G]

        The units of a group sum to what would go with all of them: every layer that reads or writes the group, but
        for the parameters per output of a layer that reads it. A branch's share is that of all its layers.
        """
        given = self._theta(np.ones(self.gates))
        return self._per_gate(self._weighted(given, _fraction("beta", beta), "all", slopes=True))

    # ---- evaluation

    def _compile(self, kind: Kind, applied: Applied, slopes: bool) -> _Columns:
        chosen = self.gradient(kind, applied) if slopes else (self.polynomial(kind, applied),)
        return _Columns(chosen)

    def _evaluate(self, theta: Array, kind: Kind, applied: Applied, slopes: bool) -> Array:
        columns = self._compiled(kind, applied, slopes)
        return columns(theta, {symbol.name: self._total(theta, symbol.name) for symbol in columns.symbols})

    def _total(self, theta: Array, symbol: str) -> Array:
        """Return the value of a symbol: the sum over a group, or a branch gate."""
        where = self._places[symbol]
        return theta[..., where].sum(-1) if isinstance(where, slice) else theta[..., where]

    @functools.cached_property
    def _places(self) -> dict[str, slice | int]:
        groups = {self.unit_symbols[group].name: where for group, where in self.unit_slices.items()}
        return groups | {self.branch_symbols[branch].name: where for branch, where in self.branch_index.items()}

    def _count(self, kind: Kind, applied: Applied, theta: Array) -> Array:
        return self._evaluate(theta, kind, applied, slopes=False)[..., 0]

    def _weighted(self, theta: Array, beta: float, applied: Applied, slopes: bool) -> Array:
        """Return C, or ∂C/∂symbol with a column a symbol."""
        macs = self._evaluate(theta, "macs", applied, slopes) / self.full_macs
        return mixture(macs, self._evaluate(theta, "parameters", applied, slopes) / self.full_parameters, beta)

    def _charge(self, theta: Array, nu: float, alpha: float, beta: float, slopes: bool) -> Array:
        """Return R, or ∂R/∂symbol with a column a symbol."""
        if not 0 <= nu < float("inf"):
            raise ValueError(f"nu must be ≥ 0 and finite; got {nu}")
        alpha, beta = _fraction("alpha", alpha), _fraction("beta", beta)
        by_units = self._weighted(theta, beta, "units", slopes)
        return pressure(by_units, self._weighted(theta, beta, "branches", slopes), nu, alpha)

    def _per_gate(self, columns: Array) -> Array:
        """Give every gate the column of the symbol it acts through: [..., symbols] → [..., G]."""
        return columns[..., _backend(columns).asarray(self._owner, device=columns.device)]

    def _full(self, kind: Kind) -> int:
        full = {symbol: self.units[group] for group, symbol in self.unit_symbols.items()}
        full |= dict.fromkeys(self.branch_symbols.values(), 1)
        return sum(int(term.xreplace(full)) for term in self._terms(kind, "all"))

    def _theta(self, theta: Array) -> Array:
        """Return Θ in double precision (counts exceed float32's integers), checked."""
        xp = _backend(theta)
        given = np.asarray(theta, dtype=np.float64) if xp is np else theta.to(xp.float64)
        if given.ndim == 0 or given.shape[-1] != self.gates:
            raise ValueError(f"theta must have {self.gates} entries in its last axis; got shape {tuple(given.shape)}")
        bad = ~((given >= 0) & (given <= 1))
        if bool(bad.any()):
            raise ValueError(f"theta must be in [0, 1]; got {float(given[bad][0])}")
        return given

    def _check(self) -> None:
        _distinct("layers", [layer.name for layer in self.layers])
        _distinct("branches", self.branches)
        for group, count in self.units.items():
            _natural(f"units[{group!r}]", count)
        for layer in self.layers:
            for field in ("macs", "weights", "per_output"):
                _natural(f"{field} of layer {layer.name!r}", getattr(layer, field))
            for field in ("inputs", "outputs"):
                end = getattr(layer, field)
                if not isinstance(end, str):
                    _natural(f"{field} of layer {layer.name!r}", end)
                elif end not in self.units:
                    raise ValueError(f"{field} of layer {layer.name!r} must be a group of units; got {end!r}")
            if isinstance(layer.inputs, str) and layer.inputs == layer.outputs:
                raise ValueError(f"layer {layer.name!r} must not read and write the same group; got {layer.inputs!r}")
            if layer.branch is not None and layer.branch not in self.branches:
                raise ValueError(f"branch of layer {layer.name!r} must be one of branches; got {layer.branch!r}")


class _Columns:
    """Expressions compiled to one array [..., len(expressions)]; constant ones cost nothing at run time."""

    def __init__(self, expressions: Sequence[sp.Expr]) -> None:
        free = set().union(*(expression.free_symbols for expression in expressions))
        self.symbols = sorted(free, key=lambda symbol: symbol.name)
        constant = [not expression.free_symbols for expression in expressions]
        self._constants = np.array([float(e) for e, c in zip(expressions, constant, strict=True) if c])
        varying = [e for e, c in zip(expressions, constant, strict=True) if not c]
        self._varying: Callable[[Operands], tuple[Array, ...]] | None = None
        if varying:
            self._varying = compile_expressions(self.symbols, varying)
        # Constants first, then the varying ones: this restores the given order.
        self._order = np.argsort(np.argsort(~np.array(constant, dtype=bool), kind="stable"), kind="stable")

    def __call__(self, theta: Array, values: dict[str, Array]) -> Array:
        xp, lead = _backend(theta), tuple(theta.shape[:-1])
        constants = xp.asarray(self._constants, device=theta.device)
        constants = xp.broadcast_to(constants, (*lead, len(self._constants)))
        if self._varying is None:
            return constants
        varying = xp.stack(self._varying(Operands(xp, values)), -1)
        if not len(self._constants):
            return varying
        return xp.concatenate([constants, varying], -1)[..., xp.asarray(self._order, device=theta.device)]


def _fraction(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1]; got {value}")
    return float(value)


def _natural(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ValueError(f"{name} must be an integer ≥ 0; got {value!r}")


def _at_least(name: str, given: int | None, own: int) -> int:
    """Return the full count: as given, or the structure's own."""
    if given is None:
        return own
    _natural(name, given)
    if given < own:
        raise ValueError(f"{name} must be at least the structure's own count, {own}; got {given}")
    return int(given)


def _distinct(name: str, values: Sequence[str]) -> None:
    repeated = [value for i, value in enumerate(values) if value in values[:i]]
    if repeated:
        raise ValueError(f"{name} must have distinct names; got {repeated[0]!r} twice")


def _backend(value: Array) -> ModuleType:
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(value, torch.Tensor) else np


def _like(theta: Array, result: Array) -> Array:
    """Return the result in Θ's own floating dtype; double for integers and plain lists."""
    xp = _backend(theta)
    if xp is np:
        kind = getattr(theta, "dtype", None)
        return result.astype(kind) if kind is not None and kind.kind == "f" else result
    return result.to(theta.dtype) if theta.is_floating_point() else result
