"""What the names of functions and files say."""

from __future__ import annotations

import re


def is_test_file(filename: str) -> bool:
    """Whether a file holds tests of code."""
    *folders, name = filename.split("/")
    return name.startswith(("test_", "conftest")) or name.endswith("_test.py") or "tests" in folders


def words(name: str) -> list[str]:
    """The words of a name in snake case or camel case."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [w for w in re.split(r"[^a-z]+", spaced.lower()) if w]


def stem(filename: str) -> str:
    """The name of a file without its folders and its kind."""
    return filename.rpartition("/")[2].partition(".")[0]
