"""What holds for all tests: shapes are checked at run time, property tests repeat, torch uses one thread.

Shapes in signatures are jaxtyping's; outside the tests they are documentation and cost nothing.
"""

import os

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# Before any test module imports what it tests.
install_import_hook(
    ["training", "figures"],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",  # an int is a float
)

# The same examples on every run and machine: a failure is never the weather's.
settings.register_profile("tests", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("tests")

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """Return the folder of a run in `tests.support.digits_runs` by its name: to be read, never to be changed."""
    from tests.support.digits_runs import finished  # after the hook above

    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "digits-runs"
    root.mkdir(exist_ok=True)
    return lambda name: finished(name, root)
