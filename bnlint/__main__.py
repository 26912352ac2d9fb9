"""`python -m bnlint`."""

import sys

# Python put the current folder first: the project's `json.py` would be run in place of Python's own.
if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]

from bnlint.cli import main

main()
