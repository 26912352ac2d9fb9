"""What is linted: what was named, what is found below it, each file once."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from bnlint.source.discover import EXCLUDE, Found, discover, matches


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")


def names(found: Found, root: Path) -> list[str]:
    return [file.relative_to(root).as_posix() for file in found.files]


def faults(found: Found, root: Path) -> list[tuple[str, str]]:
    return [(os.path.relpath(one.where.filename, root), one.message) for one in found.faults]


def test_folders_are_searched_and_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "b.py", "a/z.py", "a/__init__.py", "a/notes.txt", "a/c.pyc", "nets.py/inside.py")
    assert names(discover([tmp_path]), tmp_path) == ["a/__init__.py", "a/z.py", "b.py", "nets.py/inside.py"]


def test_each_file_comes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/b.py")
    monkeypatch.chdir(tmp_path)
    found = discover([".", "a", "a/b.py", tmp_path / "a", "a/../a/b.py"])
    assert found.files == (tmp_path / "a" / "b.py",)


def test_default_folders_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{folder}/a.py" for folder in EXCLUDE), "src/build/b.py", "builder/c.py")
    assert names(discover([tmp_path]), tmp_path) == ["builder/c.py"]


def test_what_is_named_is_linted_though_excluded_or_not_called_py(tmp_path: Path) -> None:
    touch(tmp_path, "venv/a.py", "script", "build/b.py")
    found = discover([tmp_path / "venv" / "a.py", tmp_path / "script", tmp_path / "build"])
    assert names(found, tmp_path) == ["build/b.py", "script", "venv/a.py"]


def test_patterns_name_files_folders_and_places(tmp_path: Path) -> None:
    touch(tmp_path, "a_pb2.py", "a.py", "gen/b.py", "src/gen/c.py", "src/d.py")
    assert names(discover([tmp_path], ["*_pb2.py", "gen"]), tmp_path) == ["a.py", "src/d.py"]
    assert names(discover([tmp_path], [f"{tmp_path}/gen"]), tmp_path) == [
        "a.py",
        "a_pb2.py",
        "src/d.py",
        "src/gen/c.py",
    ]


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("/p/a/gen/b.py", "/p/**/b.py", True),
        ("/p/b.py", "/p/**/b.py", True),
        ("/p/b.py", "/q/**/b.py", False),
        ("/p/b.py", "*.py", True),
        ("/p/b.py", "p", False),
    ],
)
def test_patterns(path: str, pattern: str, *, expected: bool) -> None:
    assert matches(path, [pattern]) is expected


def test_loops_of_links_end(tmp_path: Path) -> None:
    touch(tmp_path, "a/b.py")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    found = discover([tmp_path])
    assert names(found, tmp_path) == ["a/b.py"]
    assert not found.faults


def test_a_link_to_a_file_is_that_file(tmp_path: Path) -> None:
    touch(tmp_path, "src/z.py", "elsewhere/other.txt")
    (tmp_path / "src" / "a.py").symlink_to("z.py")
    (tmp_path / "src" / "only.py").symlink_to("../elsewhere/other.txt")
    assert names(discover([tmp_path / "src"]), tmp_path) == ["src/only.py", "src/z.py"]


def test_a_link_to_a_folder_is_followed_where_it_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.py")
    (tmp_path / "link").symlink_to("real")
    assert names(discover([tmp_path / "link"]), tmp_path) == ["link/a.py"]


def test_broken_links_are_reported(tmp_path: Path) -> None:
    (tmp_path / "gone.py").symlink_to("nowhere.py")
    (tmp_path / "loop.py").symlink_to("loop.py")
    (tmp_path / "data").symlink_to("nowhere")
    assert sorted(faults(discover([tmp_path]), tmp_path)) == [
        ("gone.py", "broken link to nowhere.py"),
        ("loop.py", "broken link to loop.py"),
    ]


def test_what_is_no_file_is_reported_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "s.py"))
    found = discover([tmp_path])
    assert sorted(faults(found, tmp_path)) == [
        ("pipe.py", "is not a regular file"),
        ("s.py", "is not a regular file"),
    ]
    assert not found.files


def test_a_folder_that_cannot_be_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not stop the administrator, as whom tests run in many containers: so the system is asked to refuse."""
    touch(tmp_path, "a.py", "secret/b.py")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("secret"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = discover([tmp_path])
    assert faults(found, tmp_path) == [("secret", "folder cannot be read: Permission denied")]
    assert names(found, tmp_path) == ["a.py"]


def test_wrong_paths_have_a_reason_and_lose_nothing_else(tmp_path: Path) -> None:
    touch(tmp_path, "a.py", "n.ipynb")
    (tmp_path / "link.py").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    wrong = {name: str(tmp_path / name) for name in ("missing.py", "link.py", "pipe", "n.ipynb")}
    found = discover([*wrong.values(), tmp_path / "a.py"])
    assert found.wrong == {
        wrong["missing.py"]: "no such file or folder",
        wrong["link.py"]: "is a broken link",
        wrong["pipe"]: "is not a file or folder",
        wrong["n.ipynb"]: "notebooks are not supported",
    }
    assert names(found, tmp_path) == ["a.py"]
