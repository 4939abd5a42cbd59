"""The errors a user can cause: one line that names the thing and what to do; the command exits with status 2."""

__all__ = ["DataError", "InputError", "RefutedError", "first_line"]


class InputError(ValueError):
    """Bad input: a setting, a path, a file. Its message fits on one line."""


class DataError(InputError):
    """A data set is missing, damaged, foreign or unknown."""


class RefutedError(Exception):
    """A run contradicts the theory. Everything is written before it is raised; the command exits with status 1."""


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, of those that say something, or its kind."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " ".join(lines[:2]) if lines and lines[0].endswith(":") else "".join(lines[:1])
    return said or type(error).__name__
