"""What holds for all tests: shapes are checked at run time, property tests repeat, torch uses one thread.

Shapes in signatures are jaxtyping's; outside the tests they are documentation and cost nothing.
"""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

ROOT = Path(__file__).parents[1]

# Before any test module imports what it tests. A check costs at every call, so only where there are shapes: the other
# types are mypy's.
install_import_hook(
    [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in ("training", "figures")
        for path in sorted((ROOT / package).rglob("*.py"))
        if "from jaxtyping import" in path.read_text(encoding="utf-8")
    ],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",  # an int is a float
)

# The same examples on every run and machine: a failure is never the weather's.
settings.register_profile("tests", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("tests")

torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def checked_once():
    """Let the check of a gated network run once for each kind in the session, not for each of hundreds of runs.

    `tests/training/gating/test_self_check.py` calls it itself.
    """
    from training.engine import pruning_method  # after the hook above

    check, seen = pruning_method.check_removal, set()

    def once(network, shape, optimizer):
        kind = (repr(network), tuple(shape), type(optimizer))
        if kind not in seen:
            check(network, shape, optimizer)
            seen.add(kind)

    pruning_method.check_removal = once
    yield
    pruning_method.check_removal = check


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """Return the folder of a run in `tests.support.digits_runs` by its name: to be read, never to be changed."""
    from tests.support.digits_runs import finished  # after the hook above

    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "digits-runs"
    root.mkdir(exist_ok=True)
    return lambda name: finished(name, root)
