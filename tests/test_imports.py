"""Which way things flow: dynamics → training → figures; and every name a module promises is there."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("dynamics", "training", "figures", "paper")
FORBIDDEN = {
    "dynamics": {"training", "figures", "paper"},
    "training": {"figures", "paper"},
    "figures": {"training", "paper"},
    "paper": set(),
}
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported(tree):
    """Top-level packages that a tree of code imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute, so that this test can read them"
            yield node.module.partition(".")[0]


def at_module_level(tree):
    """Statements that run on import: those outside functions."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from at_module_level(node)


def test_there_is_something_to_scan():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(PACKAGES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_flow_one_way(path):
    tree, package = ast.parse(path.read_text()), path.relative_to(ROOT).parts[0]
    assert not FORBIDDEN[package] & set(imported(tree))
    if package == "dynamics":
        for node in at_module_level(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "torch" not in set(imported(node)), f"line {node.lineno}: torch only inside functions"


def test_importing_dynamics_needs_no_torch():
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import dynamics; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("package", PACKAGES)
def test_promised_names_exist(package):
    found = importlib.import_module(package)
    modules = [m.name for m in pkgutil.walk_packages(found.__path__, package + ".") if not m.name.endswith("__main__")]
    for name in [package, *modules]:
        module = importlib.import_module(name)
        for promised in getattr(module, "__all__", ()):
            assert hasattr(module, promised), f"{name} promises {promised}"
