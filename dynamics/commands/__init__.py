"""The command lines of `python -m dynamics`."""
