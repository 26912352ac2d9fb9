"""What git ignores is passed over, as git and ruff do."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import GIT, REPOSITORY, RUFF, plant, seen, seen_by_git, seen_by_ruff

if TYPE_CHECKING:
    from pathlib import Path

FILES = (
    "a.py",
    "b.py",
    "data/a.py",
    "data/b.ipynb",
    "data/raw/a.py",
    "data/raw/deep/c.py",
    "src/a.py",
    "src/data/d.py",
)

# Patterns, and the files of FILES that they leave.
ALONE = {
    "a name": ("a.py", ["b.py", "data/b.ipynb", "data/raw/deep/c.py", "src/data/d.py"]),
    "a name of folders": ("data/", ["a.py", "b.py", "src/a.py"]),
    "a name of folders is none of a file": ("a.py/", list(FILES)),
    "anchored": ("/a.py", [name for name in FILES if name != "a.py"]),
    "anchored folder": ("/data", ["a.py", "b.py", "src/a.py", "src/data/d.py"]),
    "a path is anchored": ("data/raw", [name for name in FILES if "raw" not in name]),
    "a path of a folder": ("data/raw/", [name for name in FILES if "raw" not in name]),
    "a star stays in a folder": ("data/*.py", [name for name in FILES if name != "data/a.py"]),
    "signs": ("[ac].p?", ["b.py", "data/b.ipynb", "src/data/d.py"]),
    "not these signs": ("[!a-c].py", [name for name in FILES if "d.py" not in name]),
    "any folder before": ("**/raw", [name for name in FILES if "raw" not in name]),
    "any folder between": ("data/**/c.py", [name for name in FILES if "c.py" not in name]),
    "no folder between": (
        "data/**/a.py",
        [name for name in FILES if name not in {"data/a.py", "data/raw/a.py"}],
    ),
    "all below": ("data/**", ["a.py", "b.py", "src/a.py", "src/data/d.py"]),
    "the last line decides": (
        "*.py\n!a.py",
        ["a.py", "data/a.py", "data/b.ipynb", "data/raw/a.py", "src/a.py"],
    ),
    "and the other way round": ("!a.py\n*.py", ["data/b.ipynb"]),
    "only some": ("*\n!*/\n!*.ipynb", ["data/b.ipynb"]),
    "all but one folder": ("/*\n!/src", ["src/a.py", "src/data/d.py"]),
    "all but one file": ("data/**\n!data/a.py", ["a.py", "b.py", "data/a.py", "src/a.py", "src/data/d.py"]),
    "folders are opened again": (
        "data/**\n!data/**/\n!**/c.py",
        ["a.py", "b.py", "data/raw/deep/c.py", "src/a.py", "src/data/d.py"],
    ),
    "what is in an ignored folder stays there": ("data/\n!data/a.py", ["a.py", "b.py", "src/a.py"]),
    "a folder that is back brings not all back": ("*.py\n!src/", ["data/b.ipynb"]),
    "hidden before its folder was": ("a.py\n/*\n!/src", ["src/data/d.py"]),
    "comments and empty lines": ("# a.py\n\n   \n\\#b\nb.py", [name for name in FILES if name != "b.py"]),
    "spaces at the end": (
        "b.py   \nsrc/  ",
        [name for name in FILES if name != "b.py" and "src" not in name],
    ),
    "ends of lines of Windows": (
        "b.py\r\nsrc/\r\n",
        [name for name in FILES if name != "b.py" and "src" not in name],
    ),
    "a byte order mark": ("\ufeffb.py", [name for name in FILES if name != "b.py"]),
    "lines that say nothing": (
        "/\n!\n!/\n\\\nsrc\\\n[a.py\ndata/[b.ipynb\nb.py",
        [name for name in FILES if name != "b.py"],
    ),
}

# Repositories, and what is left of them.
REPOSITORIES = {
    "a nested file is about its folder": (
        {"sub/.gitignore": "/a.py", "a.py": "", "sub/a.py": "", "sub/sub/a.py": ""},
        ["a.py", "sub/sub/a.py"],
    ),
    "the nearest file decides": (
        {
            ".gitignore": "*.py",
            "sub/.gitignore": "!a.py",
            "a.py": "",
            "sub/a.py": "",
            "sub/b.py": "",
            "sub/x/a.py": "",
        },
        ["sub/a.py", "sub/x/a.py"],
    ),
    "a nested file brings a folder back": (
        {".gitignore": "gen", "sub/.gitignore": "!gen/", "gen/a.py": "", "sub/gen/a.py": ""},
        ["sub/gen/a.py"],
    ),
    "an ignored folder is not asked": ({".gitignore": "gen/", "gen/.gitignore": "!*", "gen/a.py": ""}, []),
    "info/exclude comes after": (
        {
            ".git/info/exclude": "*.py\n/x",
            ".gitignore": "!a.py",
            "a.py": "",
            "b.py": "",
            "x/a.py": "",
            "y/x/a.py": "",
        },
        ["a.py", "y/x/a.py"],
    ),
    "a link is no folder": (
        {".gitignore": "link.py/\nother.py", "text": "", "link.py": "-> text", "other.py": "-> text"},
        ["link.py"],
    ),
}
# What git does not know, or does not look into.
OTHERS = {
    ".ignore goes before .gitignore": (
        {
            **REPOSITORY,
            ".gitignore": "a.py",
            ".ignore": "!a.py\nb.py",
            "a.py": "",
            "b.py": "",
            "sub/a.py": "",
        },
        ["a.py", "sub/a.py"],
    ),
    ".ignore counts everywhere": (
        {".ignore": "/a.py\nsub/", "a.py": "", "b.py": "", "sub/a.py": ""},
        ["b.py"],
    ),
    ".gitignore counts in repositories": ({".gitignore": "a.py", "a.py": "", "b.py": ""}, ["a.py", "b.py"]),
    "a repository in another is its own": (
        {**REPOSITORY, ".gitignore": "a.py", "own/.git/": "", "a.py": "", "own/a.py": "", "sub/a.py": ""},
        ["own/a.py"],
    ),
    "repositories below": (
        {
            ".gitignore": "b.py",
            "one/.git/": "",
            "one/.gitignore": "/a.py",
            "one/a.py": "",
            "one/b.py": "",
            "two/a.py": "",
        },
        ["one/b.py", "two/a.py"],
    ),
    "a repository that is elsewhere, but where?": (
        {".git": "gitdir: a\0b", ".gitignore": "a.py", "a.py": "", "b.py": ""},
        ["b.py"],
    ),
    "a submodule": (
        {**REPOSITORY, ".gitignore": "a.py", "sub/.git": "gitdir: nowhere", "sub/a.py": ""},
        ["sub/a.py"],
    ),
    "a file of patterns that is none": (
        {**REPOSITORY, ".gitignore/": "", ".git/info/exclude/": "", "a.py": ""},
        ["a.py"],
    ),
}
TREES = {name: ({**REPOSITORY, **tree}, left) for name, (tree, left) in REPOSITORIES.items()} | OTHERS


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    plant(tmp_path, ["tree/"])
    return tmp_path / "tree"


def repository(tree: Path, contents: dict[str, str | bytes]) -> None:
    plant(tree, {**REPOSITORY, **contents})


@pytest.mark.parametrize(("patterns", "left"), ALONE.values(), ids=ALONE)
def test_patterns(tree: Path, patterns: str, left: list[str]) -> None:
    repository(tree, {**dict.fromkeys(FILES, ""), ".gitignore": patterns})
    assert seen(tree) == left


@pytest.mark.skipif(GIT is None, reason="needs git")
@pytest.mark.parametrize(("patterns", "left"), ALONE.values(), ids=ALONE)
def test_git_agrees_on_patterns(tree: Path, patterns: str, left: list[str]) -> None:
    repository(tree, {**dict.fromkeys(FILES, ""), ".gitignore": patterns})
    assert seen_by_git(tree) == left


@pytest.mark.parametrize(("contents", "left"), TREES.values(), ids=TREES)
def test_files_of_patterns(tree: Path, contents: dict[str, str | bytes], left: list[str]) -> None:
    plant(tree, contents)
    assert seen(tree) == left


@pytest.mark.skipif(GIT is None, reason="needs git")
@pytest.mark.parametrize(("contents", "left"), REPOSITORIES.values(), ids=REPOSITORIES)
def test_git_agrees_on_files_of_patterns(
    tree: Path, contents: dict[str, str | bytes], left: list[str]
) -> None:
    repository(tree, contents)
    assert seen_by_git(tree) == left


@pytest.mark.skipif(RUFF is None, reason="needs ruff")
@pytest.mark.parametrize(("contents", "left"), TREES.values(), ids=TREES)
def test_ruff_agrees_on_files_of_patterns(
    tree: Path, contents: dict[str, str | bytes], left: list[str]
) -> None:
    plant(tree, contents)
    assert seen_by_ruff(tree) == left


@pytest.mark.skipif(RUFF is None, reason="needs ruff")
@pytest.mark.parametrize(("patterns", "left"), ALONE.values(), ids=ALONE)
def test_ruff_agrees_on_patterns(tree: Path, patterns: str, left: list[str]) -> None:
    repository(tree, {**dict.fromkeys(FILES, ""), ".gitignore": patterns})
    assert seen_by_ruff(tree) == left


PARTS = st.sampled_from(
    [
        "a",
        "b",
        "c",
        "a.py",
        "b.py",
        "*",
        "**",
        "?",
        "*.py",
        "a*",
        "*b",
        "?.py",
        "[ab]",
        "[!a]",
        "[a-c].*",
        "\\a",
    ]
)
PATTERNS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(PARTS, min_size=1, max_size=3).map("/".join),
    st.sampled_from(["", "/", " "]),
)
"""Without classes such as `[[:digit:]]`, slashes in brackets and three stars, which pathspec reads otherwise."""


@pytest.fixture(scope="module")
def woods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("woods")
    plant(root, REPOSITORY)
    plant(root, [f"{x}.py" for x in "abc"] + [f"{x}/{y}.py" for x in "abc" for y in "ab"])
    plant(root, [f"{x}/{y}/{z}.py" for x in "abc" for y in "ab" for z in "ab"])
    return root


@pytest.mark.skipif(GIT is None, reason="needs git")
@settings(deadline=None)
@given(outer=st.lists(PATTERNS, min_size=1, max_size=5), inner=st.lists(PATTERNS, max_size=3))
def test_any_patterns_are_those_of_git(woods: Path, outer: list[str], inner: list[str]) -> None:
    plant(woods, {".gitignore": "\n".join(outer), "a/.gitignore": "\n".join(inner)})
    assert seen(woods) == seen_by_git(woods)


@given(lines=st.binary(max_size=60))
def test_no_bytes_are_too_much(woods: Path, lines: bytes) -> None:
    """Whatever stands there, it hides nothing that is asked for by name, and ends well."""
    plant(woods, {".gitignore": lines + b"\n!*\n", "a/.gitignore": b""})
    assert len(seen(woods)) == 21


@pytest.mark.skipif(GIT is None, reason="needs git")
def test_names_of_any_bytes(tree: Path) -> None:
    repository(
        tree,
        {
            ".gitignore": b"\xff*\n\xe9.py\n",
            os.fsdecode(b"\xff.py"): "",
            os.fsdecode(b"\xe9.py"): "",
            "a.py": "",
        },
    )
    assert seen(tree) == seen_by_git(tree) == ["a.py"]


def test_a_line_that_no_expression_can_say_hides_nothing_and_spares_the_others(tree: Path) -> None:
    repository(tree, {".gitignore": "[b-a].py\n[a].py\n[[b].py", "a.py": "", "b.py": "", "c.py": ""})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert seen(tree) == ["c.py"]


def test_it_can_be_turned_off(tree: Path) -> None:
    repository(tree, {".gitignore": "a.py", ".ignore": "b.py", "a.py": "", "b.py": ""})
    assert seen(tree, respect_gitignore=False) == ["a.py", "b.py"]


@pytest.mark.parametrize(
    ("named", "patterns", "left"),
    [
        (["data/a.py"], "data/", ["data/a.py"]),
        (["data"], "data/", ["data/a.py", "data/raw/a.py"]),
        (["data"], "data/*", []),
        (["data/raw"], "data/*", ["data/raw/a.py"]),
        (["data/raw"], "data/**", []),
        (["data/raw"], "/data/raw/a.py", []),
        (["data", "data/raw/a.py"], "a.py", ["data/raw/a.py"]),
        (["link"], "/data/raw/a.py", []),
        (["link"], "link", ["link/a.py"]),
    ],
)
def test_what_is_named(tree: Path, named: list[str], patterns: str, left: list[str]) -> None:
    """Files are taken, folders are entered, and the rules of their parents count inside."""
    repository(tree, {".gitignore": patterns, "data/a.py": "", "data/raw/a.py": "", "link": "-> data/raw"})
    assert seen(tree, *named) == left
    assert RUFF is None or seen_by_ruff(tree, *named) == left


def test_rules_above_the_repository_are_not_its_own(tmp_path: Path) -> None:
    plant(tmp_path, {**REPOSITORY, ".gitignore": "a.py", ".ignore": "b.py"})
    plant(tmp_path / "own", [".git/", "in/a.py", "in/b.py", "in/c.py"])
    assert seen(tmp_path / "own" / "in") == ["a.py", "c.py"]


def test_worktrees_share_info_exclude(tmp_path: Path) -> None:
    plant(tmp_path, {"main/.git/info/exclude": "a.py", "main/.git/worktrees/tree/commondir": "../..\n"})
    plant(
        tmp_path / "tree", {".git": f"gitdir: {tmp_path}/main/.git/worktrees/tree\n", "a.py": "", "b.py": ""}
    )
    assert seen(tmp_path / "tree") == ["b.py"]


@pytest.mark.parametrize(
    "home",
    [
        {".config/git/ignore": "/a.py"},
        {".gitconfig": "[user]\n\texcludesFile = no\n[core]\n\tExcludesFile = ~/mine\n", "mine": "/a.py"},
        {".gitconfig": '[Core]\nexcludesfile="~/mine"\n', "mine": "/a.py", ".config/git/ignore": "b.py"},
        {".config/git/config": "[core]\n  excludesfile = ~/mine", "mine": "/a.py"},
    ],
)
def test_the_users_own_file(tmp_path: Path, home: dict[str, str], tree: Path) -> None:
    plant(tmp_path / "home", home)
    repository(tree, {"a.py": "", "b.py": "", "sub/a.py": "", "c/a.py": "", "c/.gitignore": "!b.py"})
    assert seen(tree) == ["b.py", "c/a.py", "sub/a.py"]
    assert GIT is None or seen_by_git(tree) == ["b.py", "c/a.py", "sub/a.py"]


@pytest.mark.parametrize(("patterns", "needed"), [("build/\n/data/raw\n!a.py", False), ("*.so", True)])
def test_pathspec_is_imported_where_a_pattern_needs_it(tree: Path, patterns: str, *, needed: bool) -> None:
    repository(tree, {".gitignore": patterns, "a.py": ""})
    program = "import sys; from bnlint.source.discover import discover; discover(['.']); print('pathspec' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tree, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{needed}\n"
