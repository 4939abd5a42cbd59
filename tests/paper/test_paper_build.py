"""The PDF, where LaTeX is installed: it builds, and one changed result changes its number and nothing else."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from paper.generate import write
from paper.log import complaints
from paper.sources import ROOT, SOURCES, Results

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("latexmk", "pdflatex", "pdftotext"))) or "PAPER_BUILD" not in os.environ,
    reason="needs latexmk, pdftotext and PAPER_BUILD=1 (two builds of the article take half a minute)",
)


def words(root):
    """The words of the PDF made from the result files below a root."""
    write(Results(root), root / "paper")
    command = [
        "latexmk",
        "-g",
        "-pdf",
        "-interaction=nonstopmode",
        "-halt-on-error",
        "-quiet",
        "-outdir=build",
        "paper.tex",
    ]
    made = subprocess.run(
        command, cwd=root / "paper", env=os.environ | {"max_print_line": "1000"}, capture_output=True, text=True
    )
    log = (root / "paper/build/paper.log").read_text(errors="replace")
    assert made.returncode == 0, log[-2000:]
    assert complaints(log) == []
    shown = subprocess.run(
        ["pdftotext", root / "paper/build/paper.pdf", "-"], capture_output=True, text=True, check=True
    )
    return shown.stdout.split()


def test_one_changed_result_changes_its_number_in_the_pdf(tmp_path):
    shutil.copytree(ROOT / "paper", tmp_path / "paper", ignore=shutil.ignore_patterns("build"))
    shutil.copytree(ROOT / "benchmarks/results", tmp_path / "benchmarks/results")
    before = words(tmp_path)
    path = tmp_path / SOURCES["prune"].path
    result = json.loads(path.read_text())
    result["gated"]["accuracy"] = 0.7651
    path.write_text(json.dumps(result))
    after = words(tmp_path)
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 1 and changed[0][0].startswith("77.97") and changed[0][1].startswith("76.51")


def test_the_command_checks_and_writes():
    done = subprocess.run([sys.executable, "-m", "paper", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
