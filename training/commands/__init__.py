"""The command lines, one file each; `python -m training` dispatches to them."""
