r"""Every number of the text by its name: `\result{shadow.accuracy}`. Add a line here, then use it; nothing is typed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from paper.latex import as_latex, count, decimal, interval, percent
from paper.sources import Results
from training.certificates.fates import ALIVE, DEAD, REVIVED
from training.evidence.statistics import LEVEL

__all__ = ["CONSTANTS", "NUMBERS", "numbers"]

#: From a result file's JSON value to what is printed.
Read = Callable[[Any], str]

#: Constants of the program that the text states.
CONSTANTS: dict[str, str] = {
    "dead": decimal(DEAD),
    "alive": decimal(ALIVE),
    "revived": decimal(REVIVED, 1),
    "level": percent(LEVEL, 0),
}


def _at(path: str, show: Callable[[Any], str] = str) -> Read:
    """The value at a path of keys, shown."""

    def read(result: Any) -> str:
        for key in path.split("/"):
            result = result[key]
        return show(result)

    return read


def _number(value: float) -> str:
    return f"{value:g}"


def _claims() -> dict[str, Read]:
    def status(name: str) -> Read:
        return lambda result: count(Counter(c["outcome"]["status"] for c in result["claims"])[name])

    each: dict[str, Read] = {name: status(name) for name in ("proved", "held", "undecided", "refuted")}
    return {"all": lambda result: count(len(result["claims"])), **each}


_SETTINGS: dict[str, Read] = {
    "network": _at("settings/network", lambda name: name.replace("resnet", "ResNet-")),
    "batch": _at("settings/batch", count),
    "nu": _at("settings/nu", _number),
    "alpha": _at("settings/alpha", _number),
    "beta": _at("settings/beta", _number),
    "lr": _at("settings/lr", _number),
    "momentum": _at("settings/momentum", _number),
    "decay": _at("settings/decay", lambda v: rf"{v * 1e4:g}\cdot10^{{-4}}"),
    "gate-lr": _at("settings/gate_lr", _number),
    "theta-start": _at("settings/theta_start", _number),
    "hold": _at("settings/hold", count),
    "window": _at("settings/tracker/window", count),
    "every": _at("settings/tracker/every", count),
    "factor": _at("settings/tracker/factor", _number),
}


def _rule(result: Any, kind: str, rule: str) -> Any:
    (row,) = (row for row in result[kind] if row["rule"] == rule)
    return row


def _row(kind: str, rule: str, column: str, show: Callable[[Any], str] = count) -> Read:
    return lambda result: show(_rule(result, kind, rule)[column])


def _of_full(name: str) -> Read:
    return lambda result: percent(result["gated"][name] / result["gated"][f"{name}_full"])


_GATED: dict[str, Read] = {
    "accuracy": _at("gated/accuracy", lambda v: percent(v, 2)),
    "macs": _of_full("macs"),
    "parameters": _of_full("parameters"),
}

_SHADOW: dict[str, Read] = {
    **_SETTINGS,
    **_GATED,
    "data": _at("data", as_latex),
    "seed": _at("seed", count),
    "epochs": _at("epochs", count),
    "steps": _at("steps", count),
    "warmup": _at("warmup", count),
    "units": _row("units", "half-plane", "gates"),
    "units.dead": _row("units", "half-plane", "dead"),
    "layers": _row("layers", "half-plane", "gates"),
    "layers.dead": _row("layers", "half-plane", "dead"),
    "half-plane.caught": _row("units", "half-plane", "caught"),
    "half-plane.wrong": _row("units", "half-plane", "wrong"),
    "half-plane.undecided": _row("units", "half-plane", "undecided"),
    "half-plane.broken": _row("units", "half-plane", "broken"),
    "half-plane.lead": _row("units", "half-plane", "lead"),
    "bilinear.lead": _row("units", "bilinear", "lead"),
    "threshold.wrong": _row("units", "θ < 0.5", "wrong"),
    "threshold.lead": _row("units", "θ < 0.5", "lead"),
    "layers.lead": _row("layers", "half-plane", "lead"),
}

_PRUNE: dict[str, Read] = {
    **_GATED,
    "flops": _of_full("flops"),
    "units": _at("gated/units_left", count),
    "layers": _at("gated/layers_left", count),
    "every": _at("settings/prune/every", count),
    "rule": _at("settings/prune/rule"),
}


def _pooled(kind: str, rule: str, column: str) -> Read:
    """Share with its exact interval, of all runs together."""

    def read(result: Any) -> str:
        row = next((row for row in result["all"]["rules"] if (row["kind"], row["rule"]) == (kind, rule)), None)
        if row is None or row[f"{column}_share"] is None:
            return "--"
        return rf"{percent(row[f'{column}_share'])}\,\% {interval(row[f'{column}_interval'])}"

    return read


def _of_rule(kind: str, rule: str, column: str) -> Read:
    """A number of one rule's row, in whole steps or counts."""

    def read(result: Any) -> str:
        (row,) = (row for row in result["all"]["rules"] if (row["kind"], row["rule"]) == (kind, rule))
        return "--" if row[column] is None else decimal(row[column], 0)

    return read


def _broke(result: Any) -> str:
    """Promises about units under the half-plane rule whose assumption was seen to break, and how many died."""
    (row,) = (r for r in result["all"]["breaks"] if (r["kind"], r["rule"]) == ("units", "half-plane"))
    return count(sum(row["broken"].values()))


def _moved(result: Any) -> str:
    """Flagged units of the half-plane that moved beyond the bounding ODE while coupling and cost held."""
    (row,) = (r for r in result["all"]["breaks"] if (r["kind"], r["rule"]) == ("units", "half-plane"))
    return count(sum(sum(row[name].values()) for name in ("step", "drift")))


def _broke_and_died(result: Any) -> str:
    (row,) = (r for r in result["all"]["breaks"] if (r["kind"], r["rule"]) == ("units", "half-plane"))
    return count(row["broken"]["caught"])


_EVIDENCE: dict[str, Read] = {
    "runs": lambda result: count(len(result["runs"])),
    "groups": lambda result: count(max(1, len(result["groups"]))),
    "networks": lambda result: ", ".join(
        sorted({run["settings"]["network"].replace("resnet", "ResNet-") for run in result["runs"]})
    ),
    "gates": lambda result: count(sum(run["gates"] for run in result["runs"])),
    "settled": lambda result: interval([f(run["settled"] for run in result["runs"]) for f in (min, max)]),
    "refutations": _at("refutations", count),
    "units.caught": _pooled("units", "half-plane", "caught"),
    "units.wrong": _pooled("units", "half-plane", "wrong"),
    "bilinear.caught": _pooled("units", "bilinear", "caught"),
    "bilinear.wrong": _pooled("units", "bilinear", "wrong"),
    "layers.caught": _pooled("layers", "half-plane", "caught"),
    "layers.wrong": _pooled("layers", "half-plane", "wrong"),
    "broke": _broke,
    "broke-and-died": _broke_and_died,
    "moved": _moved,
    "units.lead": _of_rule("units", "half-plane", "lead"),
    "units.longest": _of_rule("units", "half-plane", "longest_lead"),
    "threshold.lead": _of_rule("units", "θ < 0.5", "lead"),
    "units.runs-wrong": _of_rule("units", "half-plane", "runs_wrong"),
}


_COMPARED: dict[str, Read] = {
    "network": _at("network", lambda name: name.replace("resnet", "ResNet-")),
    "seeds": _at("seeds", lambda seeds: ", ".join(map(str, seeds))),
    "share": _at("share", lambda share: f"{100 * share:g}"),
    "minutes": _at("seconds", lambda seconds: count(round(seconds / 60))),
    "runs": lambda result: count(sum(len(each["runs"]) for each in result["runs"])),
}


def _exponent(system: str) -> Read:
    """Of the final number of units over the starting one, with limits."""

    def read(result: Any) -> str:
        (row,) = (row for row in result["spread"] if row["system"] == system)
        power, *limits = row["exponents"]["units"]
        return f"{decimal(power)} {interval(limits, decimal)}"

    return read


_ROBUSTNESS: dict[str, Read] = {
    "parsimonious": _exponent("parsimonious"),
    "while-training": _exponent("while-training"),
    "network": lambda result: result["settings"]["run"]["network"].replace("lenet", "LeNet"),
    "seeds": _at("settings/seeds", count),
    "scales": lambda result: ", ".join(f"{scale:g}" for scale in result["settings"]["scales"]),
}


def _wrong_way(kind: str) -> Read:
    """Of the gates and records whose direction is certain, how many first-order sends the other way, in percent."""

    def read(result: Any) -> str:
        rows = [row for row in result["bias"] if row["kind"] == kind and row["certain"]]
        certain = sum(row["certain"] for row in rows)
        return percent(sum(row["certain"] * row["wrong_way"] for row in rows) / certain) if certain else "--"

    return read


def _certain(kind: str) -> Read:
    return lambda result: count(sum(row["certain"] for row in result["bias"] if row["kind"] == kind))


_COUPLINGS: dict[str, Read] = {
    "network": lambda result: result["runs"][0]["network"].replace("resnet", "ResNet-"),
    "runs": lambda result: count(len(result["runs"])),
    "units.wrong-way": _wrong_way("units"),
    "units.certain": _certain("units"),
    "layers.wrong-way": _wrong_way("layers"),
    "layers.certain": _certain("layers"),
}


def _step(network: str, threads: int) -> dict[str, Read]:
    def cell(show: Callable[[Any], str]) -> Read:
        def read(result: Any) -> str:
            (row,) = (
                row
                for row in result["rows"]
                if (row["network"], row["threads"], row["compiled"]) == (network, threads, False)
            )
            return show(row)

        return read

    name = f"{network.replace('resnet', '')}.threads-{threads}"
    return {
        f"{name}.ratio": cell(lambda row: decimal(row["gated over ungated"]["median"])),
        f"{name}.quartiles": cell(lambda row: interval(row["gated over ungated"]["quartiles"], decimal)),
        f"{name}.n": cell(lambda row: count(row["gated over ungated"]["n"])),
        f"{name}.tracking": cell(lambda row: percent(row["tracking share of a gated step"], 2)),
    }


def _shrunk(network: str, removed: str, wanted: float) -> Read:
    def read(result: Any) -> str:
        (rows,) = (found["rows"] for found in result["networks"] if found["network"] == network)
        (row,) = (row for row in rows if (row["removed"], row["wanted"]) == (removed, wanted))
        return decimal(row["time over flops"])

    return read


_SHRUNK: dict[str, Read] = {
    f"{network.replace('resnet', '')}.{'layers' if removed == 'layers' else 'units'}.{round(100 * wanted)}": _shrunk(
        network, removed, wanted
    )
    for network in ("resnet20", "resnet56")
    for removed in ("layers", "units by 8")
    for wanted in (0.25, 0.5)
}


def _flow(case: str, ratio: str) -> Read:
    def read(result: Any) -> str:
        (found,) = (found for found in result["cases"] if found["case"] == case)
        return decimal(found["ratios"][ratio], 0)

    return read


def _nanoseconds(result: Any) -> str:
    (row,) = (r for r in result["rows"] if (r["gate"], r["gates"], r["backend"]) == ("LinearGate", 100_000, "numpy"))
    return decimal(row["ns"], 0)


#: Source → name → how it is read and printed.
NUMBERS: dict[str, dict[str, Read]] = {
    "claims": _claims(),
    "shadow": _SHADOW,
    "prune": _PRUNE,
    "evidence": _EVIDENCE,
    "evidence-digits": {name: _EVIDENCE[name] for name in ("runs", "refutations", "units.caught", "units.wrong")},
    "couplings-digits": _COUPLINGS,
    "couplings-cifar": _COUPLINGS,
    "compare-digits": _COMPARED,
    "compare-cifar10": _COMPARED,
    "robustness": _ROBUSTNESS,
    "step": {**_step("resnet20", 1), **_step("resnet20", 2), **_step("resnet56", 1), **_step("resnet56", 2)},
    "shrunk": _SHRUNK,
    "flow": {"linear": _flow("linear", "ours exact / diffrax"), "general": _flow("general", "ours / diffrax")},
    "margin": {"linear": _nanoseconds},
    "kills": {"kills": _at("kills", count), "different": _at("not identical", count)},
}


def numbers(results: Results) -> Iterator[tuple[str, str]]:
    """Return (name, LaTeX) of every number whose result file is there, constants first.

    Raises:
        KeyError: if a result file lacks what a number reads.
    """
    yield from ((f"code.{name}", value) for name, value in CONSTANTS.items())
    for source, readers in NUMBERS.items():
        if results.measured(source):
            for name, read in readers.items():
                yield f"{source}.{name}", read(results[source])
