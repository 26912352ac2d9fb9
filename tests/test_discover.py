"""What is linted: what was named, what is found below it, each file once."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NamedTuple

import pytest
from trees import RUFF, plant, seen, seen_by_ruff

from bnlint.source.discover import EXCLUDE, Found, discover, matches


def touch(root: Path, *names: str) -> None:
    plant(root, names)


def names(found: Found, root: Path) -> list[str]:
    return [file.relative_to(root).as_posix() for file in found.files]


def faults(found: Found, root: Path) -> list[tuple[str, str]]:
    return [(os.path.relpath(one.where.filename, root), one.message) for one in found.faults]


def test_folders_are_searched_and_sorted(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b.py",
        "a/z.py",
        "a/__init__.py",
        "a/notes.txt",
        "a/c.pyc",
        "a/stub.pyi",
        "nets.py/inside.py",
        "n.ipynb",
    )
    expected = ["a/__init__.py", "a/z.py", "b.py", "n.ipynb", "nets.py/inside.py"]
    assert names(discover([tmp_path]), tmp_path) == expected


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
    touch(tmp_path, "a.py")
    (tmp_path / "link.py").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    wrong = {name: str(tmp_path / name) for name in ("missing.py", "link.py", "pipe")}
    found = discover([*wrong.values(), tmp_path / "a.py"])
    assert found.wrong == {
        wrong["missing.py"]: "no such file or folder",
        wrong["link.py"]: "is a broken link",
        wrong["pipe"]: "is not a file or folder",
    }
    assert names(found, tmp_path) == ["a.py"]


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("src/trian.py", "src/train.py"),
        ("scr/train.py", "src/train.py"),
        ("./scr/nest/resnet.py", "./src/nets/resnet.py"),
        ("src/nest/", "src/nets"),
        ("srcs", "src"),
        ("src/Train.py", "src/train.py"),
        ("src/nothing_like_it.py", ""),
        ("elsewhere/train.py", ""),
        ("src/train.py/net.py", ""),
        ("", ""),
    ],
)
def test_a_path_that_does_not_exist_names_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, near: str
) -> None:
    touch(tmp_path, "src/train.py", "src/eval.py", "src/nets/resnet.py", "other.py")
    monkeypatch.chdir(tmp_path)
    reason = "no such file or folder" + (f', the nearest is "{near}"' if near else "")
    assert discover([wrong]).wrong == {wrong: reason}


def test_what_is_given_need_not_exist(tmp_path: Path) -> None:
    touch(tmp_path, "build/a.py", "c.py")
    given = frozenset(
        {str(tmp_path / "build" / "new.py"), str(tmp_path / "c.py"), str(tmp_path / "unnamed.py")}
    )
    found = discover([tmp_path / "build" / "new.py", tmp_path], given=given)
    assert (names(found, tmp_path), found.wrong) == (["build/new.py", "c.py"], {})
    found = discover([tmp_path / "build" / "new.py"], given=given, force_exclude=True, root=tmp_path)
    assert (found.files, found.excluded) == ((), (tmp_path / "build" / "new.py",))


def test_what_was_left_out_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "venv/a.py", "dist/b/c.py", "d_pb2.py", "e.py")
    paths = [tmp_path / name for name in ("venv/a.py", "dist/b", "d_pb2.py", "e.py", "dist/missing.py")]
    found = discover(paths, [*EXCLUDE, "*_pb2.py"], force_exclude=True, root=tmp_path)
    assert names(found, tmp_path) == ["e.py"]
    assert found.excluded == (*paths[:3], paths[4])
    assert not found.wrong


def test_folders_above_the_root_are_called_by_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "build/project/a.py", "build/project/dist/b.py")
    project = tmp_path / "build" / "project"
    assert seen(project, "a.py", "dist/b.py", force_exclude=True) == ["a.py"]
    monkeypatch.chdir(project)
    assert discover(["a.py", "."], force_exclude=True).files == (project / "a.py",)
    monkeypatch.chdir(tmp_path / "build")
    assert discover(["project/a.py"], force_exclude=True).files == (project / "a.py",)
    monkeypatch.chdir(tmp_path)
    assert discover(["build/project/a.py"], force_exclude=True).files == ()


class Case(NamedTuple):
    """What is asked for, and what is linted; `twice` are links that ruff lints besides their targets."""

    named: tuple[str, ...]
    expected: list[str]
    exclude: tuple[str, ...] = EXCLUDE
    force_exclude: bool = False
    twice: tuple[str, ...] = ()


ALL = [".hid/h.py", "data/n.ipynb", "far.py", "nets/a.py", "nets/b_pb2.py", "nets/deep/c.py", "top.py"]
TREE = {
    **dict.fromkeys(
        [*ALL, "dist/d.py", "dist/in/e.py", "nets/dist/f.py", "nets/notes.txt", "nets/stub.pyi", "script"], ""
    ),
    "far.py": "-> script",
    "into": "-> nets/deep",
    "nets/up": "-> ..",
    "round": "-> round",
    "top_link.py": "-> top.py",
}
CASES = {
    "everything": Case((), ALL, twice=("top_link.py",)),
    "a folder": Case(("nets",), ["nets/a.py", "nets/b_pb2.py", "nets/deep/c.py"]),
    "files and folders": Case(
        ("top.py", "data", "nets/deep/c.py"), ["data/n.ipynb", "nets/deep/c.py", "top.py"]
    ),
    "a file inside a folder": Case(("nets", "nets/a.py"), ["nets/a.py", "nets/b_pb2.py", "nets/deep/c.py"]),
    "any suffix": Case(("script",), ["script"]),
    "a link to a file": Case(("top_link.py",), ["top_link.py"]),
    "a link to a folder": Case(("into",), ["into/c.py"]),
    "an excluded file": Case(("dist/d.py",), ["dist/d.py"]),
    "an excluded folder": Case(("dist",), ["dist/d.py", "dist/in/e.py"]),
    "a folder in one": Case(("dist/in",), ["dist/in/e.py"]),
    "excluded, named besides its parent": Case(
        (".", "dist/in"), sorted([*ALL, "dist/in/e.py"]), twice=("top_link.py",)
    ),
    "below what is named it counts": Case(
        ("dist", "nets"),
        ["dist/d.py", "nets/a.py", "nets/b_pb2.py", "nets/deep/c.py", "nets/dist/f.py"],
        ("in",),
    ),
    "a name with signs": Case(
        ("nets", "top.py"),
        ["nets/a.py", "nets/deep/c.py", "nets/dist/f.py", "top.py"],
        ("*_pb2.py", "t?p.py"),
    ),
    "a class of signs": Case(("nets/",), ["nets/dist/f.py"], ("[a-c]*.py",)),
    "a place": Case((), ["top.py"], (".hid", "dist", "nets", "data/*", "far.py"), twice=("top_link.py",)),
    "a link is excluded by its own name": Case(
        (), [name for name in ALL if name != "top.py"] + ["top_link.py"], ("dist", "top.py")
    ),
    "its target is not": Case((), ALL, ("dist", "top_link.py")),
    "forced on a file": Case(("dist/d.py", "top.py"), ["top.py"], force_exclude=True),
    "forced on a folder": Case(("dist", "top.py"), ["top.py"], force_exclude=True),
    "forced from above": Case(("dist/in/e.py", "nets/dist/f.py", "top.py"), ["top.py"], force_exclude=True),
    "forced on names": Case(("nets/a.py", "nets/b_pb2.py"), ["nets/a.py"], ("*_pb2.py",), force_exclude=True),
    "forced inside a folder": Case(
        ("dist/in", "nets/deep"), ["nets/deep/c.py"], ("dist",), force_exclude=True
    ),
}


def absolute(root: Path, patterns: tuple[str, ...]) -> list[str]:
    """As the settings give them."""
    return [f"{root}/{pattern}" if "/" in pattern else pattern for pattern in patterns]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_trees(tmp_path: Path, case: Case) -> None:
    plant(tmp_path, TREE)
    options = {"exclude": absolute(tmp_path, case.exclude), "force_exclude": case.force_exclude}
    assert seen(tmp_path, *case.named, **options) == case.expected


@pytest.mark.skipif(RUFF is None, reason="needs ruff")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_ruff_agrees(tmp_path: Path, case: Case) -> None:
    plant(tmp_path, TREE)
    found = seen_by_ruff(tmp_path, *case.named, exclude=case.exclude, force_exclude=case.force_exclude)
    assert found == sorted([*case.expected, *case.twice])
