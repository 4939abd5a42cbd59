"""Which way things flow: dynamics → training → figures → paper, the ladders inside, and that promised names exist."""

import ast
import graphlib
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
#: Rungs of the two ladders, in order. A file imports only from its own rung and from earlier ones.
LADDERS = {
    "dynamics": (
        "numeric", "gates", "models", "integrators", "basins", "noise", "proofs", "claims", "verification", "commands",
    ),
    "training": (
        "errors", "runtime", "data", "gating", "networks", "estimators", "certificates", "export", "engine", "methods",
        "evidence", "reports", "experiments", "minimal", "commands",
    ),
}  # fmt: skip
MOST_MODULES = 15
OF_EQUALS = {"training/methods", "training/commands", "dynamics/claims", "dynamics/commands", "figures"}
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


def module_of(path):
    """Return the dotted name of a file of this repository."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(path):
    """Return the modules of this repository that a file imports, anywhere in it, `TYPE_CHECKING` included."""
    here = {module_of(each) for each in FILES}
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found & here


def rung(module):
    """Return the ladder's package and the place on it of a module; the package's own face stands above all."""
    package, *inside = module.split(".")
    ladder = LADDERS[package]
    return package, ladder.index(inside[0]) if inside and inside[0] != "__main__" else len(ladder)


def climbs(path, imports):
    """Return the imports of a file that lie on a higher rung than the file itself."""
    package, place = rung(module_of(path))
    inside = [name for name in imports if name.partition(".")[0] == package and name != package]
    return sorted(name for name in inside if rung(name)[1] > place)


@pytest.mark.parametrize("path", [f for f in FILES if f.relative_to(ROOT).parts[0] in LADDERS], ids=module_of)
def test_no_import_goes_up_the_ladder(path):
    assert climbs(path, imported_modules(path)) == []


@pytest.mark.parametrize(
    ("path", "imports"),
    [("training/gating/removal.py", "training.engine.loop"), ("dynamics/gates/linear.py", "dynamics.noise")],
)
def test_a_wrong_import_would_be_found(path, imports):
    assert climbs(ROOT / path, {imports, "training.errors", "dynamics.numeric"}) == [imports]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_two_files_import_each_other_however_far_around(package):
    # A package's face hands names on; whoever imports a file of the package does not import its face for them.
    files = {module_of(f): f for f in FILES if f.relative_to(ROOT).parts[0] == package and f.name != "__init__.py"}
    graph = {name: imported_modules(path) & files.keys() - {name} for name, path in files.items()}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(graph)  # raises CycleError


def test_every_folder_can_be_taken_in_at_a_glance():
    for folder in {path.parent for path in FILES}:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        name = str(folder.relative_to(ROOT))
        assert name in OF_EQUALS or len(modules) <= MOST_MODULES, f"{name} holds {len(modules)} modules"
    assert len(list((ROOT / "training").glob("*.py"))) <= 4


def test_tests_mirror_the_packages():
    for path in (ROOT / "tests").rglob("test_*.py"):
        folder = path.parent.relative_to(ROOT / "tests")
        assert (ROOT / folder).is_dir(), f"{path.relative_to(ROOT)} tests a folder that is not there"


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
