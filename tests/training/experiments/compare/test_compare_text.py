"""The comparison's table as text: LaTeX prints what was meant, cells line up, published numbers are never mixed in."""

import re
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.experiments.compare.columns import grid, notes
from training.experiments.compare.latex import _CHARACTERS, as_latex, escaped
from training.experiments.compare.markdown import as_markdown
from training.experiments.compare.published import _ALL, published
from training.experiments.compare.table import MEASURES, over_seeds
from training.methods.registry import METHODS
from training.networks.registry import NETWORKS

TOKENS = re.compile("|".join(re.escape(token) for token in sorted(_CHARACTERS.values(), key=len, reverse=True)) + "|.")


def row(label, known=(), values=(0.91, 0.93)):
    measures = {name: over_seeds(values) for name in MEASURES if name != "parameters_masked"}
    system = {"label": label, "method": "none", "settings": {}, "pretrained": bool(known), "epochs": 5, "retrain": 2}
    return measures | system | {"taken_over": bool(known), "seeds": [*range(len(values))], "published": list(known)}


def result(*rows, known=()):
    full = {"macs": 1e6, "parameters": 2e3, "flops": 1e12}
    about = {"preset": "digits", "network": "resnet14", "width": None, "share": 0.4, "data": "digits"}
    return about | {
        "seeds": [0, 1],
        "full": full,
        "rows": list(rows),
        "published": list(known),
        "runs": [],
    }


@given(st.text(st.sampled_from([*map(chr, range(32, 127)), *"±×→–—"])))
def test_latex_reads_back_as_the_text(text):
    code = escaped(text)
    back = {token: character for character, token in _CHARACTERS.items()}
    assert code.isascii() and "".join(back.get(token, token) for token in TOKENS.findall(code)) == text


def test_a_character_without_latex_is_named():
    with pytest.raises(ValueError, match="no LaTeX for 'λ'"):
        escaped("λ = 1")


@pytest.mark.parametrize("label", ["none", r"a_b&c%#$~^\{}<>|:x=1"])
def test_every_row_has_as_many_cells_as_headings(label):
    known = published("resnet56", None, "cifar10")
    table = result(row("none"), row(label, [known[2]._asdict()]), known=[p._asdict() for p in known])
    code = as_latex(table)
    lines = [line for line in code.splitlines() if line.endswith(r" \\")]
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", code)[1]
    assert len(lines) == 3 and all(len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1 == 10 for line in lines)
    assert all(line.isascii() for line in code.splitlines() if not line.startswith("%")) and escaped(label) in code
    cells = [line for line in as_markdown(table).splitlines() if line.startswith("|")]
    assert len(cells) == 4 and all(len(re.findall(r"(?<!\\)\|", line)) == 12 for line in cells)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_mean_and_standard_deviation_are_of_the_sample(values):
    found = over_seeds(values)
    assert found["mean"] == pytest.approx(statistics.mean(values)) and found["values"] == values
    squares = sum((value - found["mean"]) ** 2 for value in values)
    if len(values) == 1:
        assert found["sd"] is None
    else:
        assert found["sd"] ** 2 * (len(values) - 1) == pytest.approx(squares, abs=1e-12)


def test_masked_kernels_are_reported_beside_what_is_there():
    masked = row("snacs") | {"parameters_masked": over_seeds((0.5, 0.5))}
    assert grid(result(masked))[1][6] == "92.0 ± 1.4 [50.0 ± 0.0]"
    assert "masked kernels" in " ".join(notes(result(masked))) and "masked" not in " ".join(notes(result(row("none"))))


def test_one_seed_has_no_spread_and_several_have():
    assert grid(result(row("none", values=(0.91,))))[1][4] == "91.00"
    assert grid(result(row("none")))[1][4] == "92.00 ± 1.41"


def test_published_numbers_stand_apart_and_only_where_they_belong():
    plain = result(row("none"))
    assert "published" not in " ".join(grid(plain)[0]) and "Published" not in " ".join(notes(plain))
    known = [p for p in published("resnet56", 16, "cifar10") if p.method]
    with_them = grid(result(row("none"), row("torch-pruning", [known[0]._asdict()])))
    assert with_them[0][-1] == "published (source)" and with_them[1][-1] == "–" and "DepGraph" in with_them[2][-1]
    assert not published("resnet56", None, "cifar100") and not published("resnet56", 8, "cifar10")
    assert published("vgg16", 64, "cifar10") and not published("resnet20", None, "cifar10")
    assert all(p.source and p.network in NETWORKS and p.method in (None, *METHODS) for p in _ALL)
