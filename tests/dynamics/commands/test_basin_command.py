"""`python -m dynamics basin`: what cannot be mapped is refused in a line, at once, before anything is written."""

import signal

import pytest

from dynamics.commands.basin import _check_expression, main

GENERAL = ["--system", "general"]


@pytest.fixture(autouse=True)
def at_once():
    """A refusal that takes longer is a hang."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("took longer than 10 s"))
    signal.alarm(10)
    yield
    signal.alarm(0)


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--coupling", "inf"], "coupling must be finite and ≥ 0"),
        (["--coupling", "nan"], "coupling must be finite and ≥ 0"),
        (["--rho", "0", "1", "100000000"], "rho must have at most 1,000,000 values; got 100,000,000"),
        (["--theta", "0", "1", "100000000"], "theta must have at most 1,000,000 values; got 100,000,000"),
        (
            ["--system", "bilinear", "--rho-out", "0", "1", "10000000000"],
            "rho-out must have at most 1,000,000 values; got 10,000,000,000",
        ),
        (
            ["--rho", "0", "1", "1000000", "--theta", "0", "1", "1000000"],
            "rho and theta must make a grid of at most 10,000,000,000 states; got 1,000,000,000,000",
        ),
        ([*GENERAL, "--difference=-rho*9**9**9**9"], "--difference may hold powers up to 100; got 9 ** 9 ** 9"),
        ([*GENERAL, "--difference=" + "-" * 900 + "rho"], "--difference is no expression"),
        ([*GENERAL, "--difference=" + "rho+" * 300 + "rho"], "--difference must have at most 1000 letters; got 1203"),
    ],
)
def test_what_nobody_waits_for_is_refused(arguments, says, tmp_path, capsys):
    assert main([str(tmp_path / "map.zarr"), *arguments]) == 2
    out, err = capsys.readouterr()
    assert says in err and err.count("\n") == 1 and not out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "rho*9**9**9",
        "rho*2**-101",
        "(rho + 1)**101",
        "rho*10**400",
        "rho*(10**100)**100",
        "rho*((1/9)**100)**100",
        "rho*exp(exp(exp(9)))",
        "rho*1e999",
        "rho/0",
        "rho*log(-1)",
        "1e-200*1e-200*rho",
        "rho*(1 << 9)",
        "rho // 2",
        "~rho",
        "rho*True",
        "rho*exp(1, 2)",
    ],
)
def test_numbers_that_sympy_would_spell_out_and_other_operations_are_refused(text):
    with pytest.raises(ValueError, match=r"^--difference (may|must) hold "):
        _check_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "-a*rho",
        "-rho**100",
        "rho**a - 2**rho",
        "-rho*(1/3)**99 + 0*rho",
        "-log(1 + rho**2)/exp(2)",
        "-rho*2**(3 - 5.5)",
    ],
)
def test_what_is_arithmetic_passes(text):
    _check_expression(text)
