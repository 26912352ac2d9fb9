"""Little trees of files, and what bnlint, git and ruff each see in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from bnlint.source.discover import EXCLUDE, discover

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

GIT = shutil.which("git")
RUFF = shutil.which(
    "ruff", path=os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", "")))
)
REPOSITORY = {".git/HEAD": "ref: refs/heads/main\n", ".git/refs/": "", ".git/objects/": ""}
"""The least that git takes for a repository."""


def plant(root: Path, tree: Mapping[str, str | bytes] | Iterable[str]) -> None:
    """Make files with their content; a name that ends with a slash is a folder, `-> x` leads there."""
    contents = dict(tree) if hasattr(tree, "keys") else dict.fromkeys(tree, "")
    for name, content in contents.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            place.mkdir(exist_ok=True)
        elif isinstance(content, str) and content.startswith("-> "):
            place.symlink_to(content.removeprefix("-> "))
        else:
            place.write_bytes(os.fsencode(content))


def seen(root: Path, *named: str, **options) -> list[str]:
    """What bnlint lints, relative to the tree."""
    found = discover([root / name for name in named or (".",)], root=root, **options)
    return [file.relative_to(root).as_posix() for file in found.files]


def seen_by_git(root: Path) -> list[str]:
    """The Python files that git would add."""
    command = [GIT, "-C", str(root), "ls-files", "-z", "--others", "--exclude-standard"]
    out = subprocess.run(command, capture_output=True, check=True).stdout
    return sorted(os.fsdecode(name) for name in out.split(b"\0") if name.endswith((b".py", b".ipynb")))


def seen_by_ruff(
    root: Path, *named: str, exclude: Iterable[str] = EXCLUDE, force_exclude: bool = False
) -> list[str]:
    """The Python files that ruff would lint."""
    command = [RUFF, "check", "--isolated", "--no-cache", "--show-files", "--exclude", ",".join(exclude)]
    command += ["--force-exclude"] if force_exclude else []
    out = subprocess.run([*command, *(named or (".",))], cwd=root, capture_output=True, check=True).stdout
    files = (os.path.relpath(os.fsdecode(line), root) for line in out.splitlines())
    return sorted(file for file in files if file.endswith((".py", ".ipynb")) or file in named)
