"""The errors a user can cause: one line that names the thing and what to do; the command exits with status 2."""

__all__ = ["DataError", "InputError", "RefutedError"]


class InputError(ValueError):
    """Bad input: a setting, a path, a file. Its message fits on one line."""


class DataError(InputError):
    """A data set is missing, damaged, foreign or unknown."""


class RefutedError(Exception):
    """A run contradicts the theory. Everything is written before it is raised; the command exits with status 1."""
