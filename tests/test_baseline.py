"""A baseline knows a finding again after everything around it has changed, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import bnlint
from bnlint import baseline
from bnlint.baseline import BaselineError, Entry
from bnlint.finding import Finding, Where

FIXTURES = Path(__file__).parent.parent / "fixtures"

BUGS = {
    "loader = DataLoader(data, batch_size=1)": ("BN301", "tiny-batch"),
    "    loader = DataLoader(others, batch_size=2)": ("BN301", "tiny-batch"),
    "self.bn = nn.BatchNorm2d(8, eps=1.0)": ("BN405", "epsilon-out-of-range"),
    "self.bn = nn.BatchNorm2d(8, momentum=0.99)": ("BN404", "momentum-convention"),
    "head = nn.Sequential(\n    nn.ReLU(),\n    nn.BatchNorm1d(9),\n)": (
        "BN202",
        "activation-before-batchnorm",
    ),
    "# größer 批 \u2028 \x1b[31m\\": ("BN000", "unused-noqa"),
}
"""Texts, and what is found in them."""
NEUTRAL = (
    "",
    "import torch",
    "\n\n# more\n",
    "def f(x):\n\treturn x",
    "loader = DataLoader(data, batch_size=64)",
)


@dataclass(frozen=True)
class Project:
    """Files (in notebooks: cells) of texts, in a folder."""

    folder: Path
    files: dict[str, tuple[str, ...]]

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def create(self) -> Project:
        for name in self.files:
            os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
            Path(self.path(name)).touch()
        return self

    def become(self, files: dict[str, Iterable[str]]) -> Project:
        """The project after a change, also on the disk."""
        for name in self.files:
            os.unlink(self.path(name))
        return Project(self.folder, {name: tuple(texts) for name, texts in files.items()}).create()

    def edit(self, change: Callable[[str, list[str]], Iterable[str]]) -> Project:
        return self.become({name: change(name, list(texts)) for name, texts in self.files.items()})

    @property
    def findings(self) -> list[Finding]:
        """In the order of their places."""
        return [one for name in sorted(self.files) for one in self._found(name)]

    def lines(self, where: Where) -> Sequence[str]:
        texts = self.files[os.path.relpath(where.filename, self.folder)]
        return texts[where.cell - 1].split("\n") if where.cell else "\n".join(texts).split("\n")

    def _found(self, name: str) -> Iterator[Finding]:
        row = 1
        for cell, text in enumerate(self.files[name], 1):
            height = text.count("\n") + 1
            is_notebook = name.endswith(".ipynb")
            if text in BUGS:
                first = 1 if is_notebook else row
                where = Where(self.path(name), first, 1, first + height - 1, 9, cell if is_notebook else None)
                yield Finding(*BUGS[text], f"message of row {row}", "warning", "high", where)
            row += height

    @property
    def file(self) -> Path:
        return self.folder / "known.json"

    def write(self, *scope: str, active: Callable[[str], bool] = lambda _: True) -> baseline.Written:
        return baseline.write(self.file, self.seen(scope, active), self.lines, self.scope(scope), active)

    def split(
        self, *scope: str, active: Callable[[str], bool] = lambda _: True
    ) -> tuple[list[Finding], list[Entry]]:
        known = baseline.read(self.file)
        new, gone = known.split(self.seen(scope, active), self.lines, self.scope(scope), active)
        return list(new), list(gone)

    def seen(self, scope: Sequence[str], active: Callable[[str], bool]) -> list[Finding]:
        areas = [os.path.normpath(path) for path in self.scope(scope)]
        return [
            one
            for one in self.findings
            if active(one.name if one.code == "BN000" else one.code)
            and any(
                one.where.filename == area or one.where.filename.startswith(area + os.sep) for area in areas
            )
        ]

    def scope(self, names: Sequence[str]) -> list[Path]:
        return [Path(self.path(name)) for name in names or (".",)]


TEXTS = st.lists(st.sampled_from([*BUGS, *NEUTRAL]), max_size=8).map(tuple)
NAMES = st.builds(
    lambda folders, name: "/".join((*folders, name)),
    st.lists(st.sampled_from(["src", "lib", "deep"]), max_size=3),
    st.sampled_from(["a.py", "b.py", "model.py", "größe \u2028.py", "try.ipynb", "\udcff.py"]),
)
FILES = st.dictionaries(NAMES, TEXTS, min_size=1, max_size=5)


@contextmanager
def project(files: dict[str, Iterable[str]]) -> Iterator[Project]:
    with TemporaryDirectory() as folder:
        texts = {name: tuple(given) for name, given in files.items()}
        yield Project(Path(os.path.realpath(folder)), texts).create()


def keys(findings: Iterable[Finding]) -> Counter[tuple[str, str]]:
    return Counter((one.where.filename, one.code) for one in findings)


# Laws


@given(FILES)
def test_what_was_written_is_known(files) -> None:
    with project(files) as code:
        count = len(code.findings)
        assert code.write() == baseline.Written(count, count, 0, 0)
        data = code.file.read_bytes()
        assert code.split() == ([], [])
        assert code.write() == baseline.Written(count, 0, 0, 0)
        assert code.file.read_bytes() == data
        json.loads(data)
        assert len(data.splitlines()) >= len(code.findings)


@given(FILES, st.data())
def test_edits_around_findings_change_nothing(files, data) -> None:
    with project(files) as code:
        code.write()
        before = code.file.read_bytes()

        def edit(_name: str, texts: list[str]) -> Iterator[str]:
            for text in texts:
                yield from data.draw(st.lists(st.sampled_from(NEUTRAL), max_size=2))
                if text in BUGS or data.draw(st.booleans()):
                    yield text

        after = code.edit(edit)
        assert after.split() == ([], [])
        after.write()
        assert code.file.read_bytes() == before


@given(FILES, st.data())
def test_the_order_in_a_file_changes_nothing(files, data) -> None:
    with project(files) as code:
        code.write()
        assert code.edit(lambda _, texts: data.draw(st.permutations(texts))).split() == ([], [])


@given(FILES, st.data())
def test_renamed_files_are_known(files, data) -> None:
    with project(files) as code:
        code.write()
        moved: dict[str, tuple[str, ...]] = {}
        for name, texts in files.items():
            fresh = NAMES.filter(lambda to: to not in files and to not in moved)
            like = fresh.filter(lambda to, name=name: to.endswith(".py") is name.endswith(".py"))
            moved[data.draw(st.just(name) | like)] = texts
        after = code.become(moved)
        assert after.split() == ([], [])
        assert after.write() == baseline.Written(len(after.findings), 0, 0, 0)
        assert after.split() == ([], [])


@given(FILES, st.data())
def test_one_more_finding_is_one_that_is_new(files, data) -> None:
    with project(files) as code:
        code.write()
        name, text = data.draw(st.sampled_from(sorted(files))), data.draw(st.sampled_from(list(BUGS)))
        row = data.draw(st.integers(0, len(files[name])))
        after = code.become({**files, name: (*files[name][:row], text, *files[name][row:])})
        new, gone = after.split()
        assert [(one.where.filename, one.code) for one in new] == [(code.path(name), BUGS[text][0])]
        assert gone == []
        if text not in files[name]:
            assert after.lines(new[0].where)[new[0].where.row - 1] == text.split("\n")[0]


@given(FILES, st.data())
def test_one_finding_less_is_one_that_is_gone(files, data) -> None:
    with project(files) as code:
        bugs = [(name, i) for name in files for i, text in enumerate(files[name]) if text in BUGS]
        assume(bugs)
        code.write()
        name, i = data.draw(st.sampled_from(bugs))
        text = files[name][i]
        after = code.become({**files, name: (*files[name][:i], *files[name][i + 1 :])})
        new, gone = after.split()
        assert new == []
        assert [(one.filename, one.code, one.text) for one in gone] == [
            (name, BUGS[text][0], " ".join(text.split()))
        ]
        count = len(after.findings)
        assert after.write() == baseline.Written(count, 0, 0, 1)
        assert after.split() == ([], [])


@given(FILES, FILES, st.data())
def test_the_order_of_findings_and_entries_does_not_matter(files, others, data) -> None:
    with project(files) as code:
        code.write()
        after = code.become(others)
        known = baseline.read(code.file)
        new, gone = known.split(after.findings, after.lines, [code.folder])
        mixed = data.draw(st.permutations(after.findings))
        same = replace(known, entries=tuple(data.draw(st.permutations(known.entries))))
        mixed_new, mixed_gone = same.split(mixed, after.lines, [code.folder])
        assert mixed_new == tuple(one for one in mixed if one in new)
        assert Counter(mixed_new) == Counter(new)
        assert mixed_gone == gone


@given(FILES, FILES)
def test_each_entry_stands_for_one_finding(files, others) -> None:
    with project(files) as code:
        code.write()
        after = code.become(others)
        new, gone = after.split()
        assert len(after.findings) - len(new) == len(code.findings) - len(gone)


@given(FILES, st.data())
def test_a_run_on_some_files_judges_those_only(files, data) -> None:
    with project(files) as code:
        everything = code.write().findings
        before = code.file.read_bytes()
        scope = data.draw(st.lists(st.sampled_from([*files, "src", "lib", "elsewhere"]), min_size=1))
        assert code.split(*scope) == ([], [])
        written = code.write(*scope)
        assert (written.new, written.dropped, written.findings + written.kept) == (0, 0, everything)
        assert code.file.read_bytes() == before


@given(FILES, st.sets(st.sampled_from(["BN301", "BN405", "BN404", "BN202", "unused-noqa"])))
def test_a_run_with_some_rules_judges_those_only(files, rules) -> None:
    with project(files) as code:
        code.write()
        before = code.file.read_bytes()
        assert code.split(active=rules.__contains__) == ([], [])
        code.write(active=rules.__contains__)
        assert code.file.read_bytes() == before
        cured = code.edit(lambda _name, texts: [text for text in texts if text not in BUGS])
        _, gone = cured.split(active=rules.__contains__)
        on = [one for one in code.findings if one.code in rules or one.name in rules]
        assert Counter(one.code for one in gone) == Counter(one.code for one in on)


@pytest.mark.skipif(shutil.which("git") is None, reason="merges are git's")
@given(FILES, FILES, FILES)
def test_lines_of_both_branches_may_stay(base, ours, theirs) -> None:
    with project(base) as code:
        entries = {}
        for name, files in (("base", base), ("ours", ours), ("theirs", theirs)):
            branch = replace(code, files=files)
            branch.write()
            entries[name] = set(baseline.read(code.file).entries)
            code.file.rename(code.folder / name)
        command = ["git", "merge-file", "--union", "ours", "base", "theirs"]
        subprocess.run(command, cwd=code.folder, check=True, timeout=60)
        merged = set(baseline.read(code.folder / "ours").entries)
        added = (entries["ours"] | entries["theirs"]) - entries["base"]
        assert added | (entries["ours"] & entries["theirs"]) <= merged <= set.union(*entries.values())


# The file

LOADER = "loader = DataLoader(data, batch_size=1)"
EPS = "self.bn = nn.BatchNorm2d(8, eps=1.0)"
HEAD = next(text for text in BUGS if "\n" in text)
KNOWN = {"src/a.py": (EPS, LOADER, "", LOADER), "try.ipynb": ("import torch", HEAD)}
ENTRY = Entry("src/a.py", "BN301", "tiny-batch", LOADER, "aeaeb5030e0f2eba")
TEXT = """\
{
  "version": 1,
  "tool": "bnlint",
  "findings": [
    {"filename": "src/a.py", "code": "BN301", "name": "tiny-batch", "text": "loader = DataLoader(data, batch_size=1)", "fingerprint": "aeaeb5030e0f2eba"},
    {"filename": "src/a.py", "code": "BN301", "name": "tiny-batch", "text": "loader = DataLoader(data, batch_size=1)", "fingerprint": "aeaeb5030e0f2eba"},
    {"filename": "src/a.py", "code": "BN405", "name": "epsilon-out-of-range", "text": "self.bn = nn.BatchNorm2d(8, eps=1.0)", "fingerprint": "db8bda7fefba1991"},
    {"filename": "try.ipynb", "code": "BN202", "name": "activation-before-batchnorm", "text": "head = nn.Sequential( nn.ReLU(), nn.BatchNorm1d(9), )", "fingerprint": "68e466c3b13b50da"},
    "The end. After a merge, the entries of both sides may stay above."
  ]
}
"""


def test_the_file() -> None:
    with project(KNOWN) as code:
        code.write()
        assert code.file.read_text(encoding="utf-8") == TEXT
        assert baseline.read(code.file).entries[:2] == (ENTRY, ENTRY)
        assert baseline.read(code.file).folder == code.folder
        assert sorted(os.listdir(code.folder)) == ["known.json", "src", "try.ipynb"]


def test_no_findings_are_a_baseline_as_well() -> None:
    with project({"a.py": ()}) as code:
        assert str(code.write()) == "wrote 0 findings, 0 of them new"
        assert code.split() == ([], [])


@pytest.mark.parametrize(("length", "kept"), [(79, 79), (80, 80), (81, 79)])
def test_long_texts_are_shortened_and_still_told_apart(length, kept) -> None:
    def lines(_where: Where) -> list[str]:
        return [text]

    with project({"a.py": ()}) as code:
        text = "größe = " + "9" * (length - 8)
        finding = Finding("BN301", "tiny-batch", "message", "warning", "high", Where(code.path("a.py")))
        baseline.write(code.file, [finding], lines, [code.folder])
        known = baseline.read(code.file)
        assert [one.text for one in known.entries] == [text[:kept] + "…" * (kept < length)]
        assert "größe" in code.file.read_text(encoding="utf-8")
        assert known.split([finding], lines, [code.folder]) == ((), ())
        text += "0"
        assert known.split([finding], lines, [code.folder]) == ((finding,), known.entries)


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        (ENTRY, "src/a.py: BN301 tiny-batch: loader = DataLoader(data, batch_size=1)"),
        (replace(ENTRY, text=""), "src/a.py: BN301 tiny-batch"),
        (
            replace(ENTRY, filename="a\n.py", text="größe\x1b[31m\u202e 批"),
            "a\ufffd.py: BN301 tiny-batch: größe\ufffd[31m\ufffd 批",
        ),
    ],
)
def test_entries_are_shown_on_one_line(entry, shown) -> None:
    assert str(entry) == shown


def test_what_was_written_is_told() -> None:
    assert str(baseline.Written(1, 0, 0, 0)) == "wrote 1 finding, 0 of them new"
    assert str(baseline.Written(7, 2, 3, 1)) == (
        "wrote 7 findings, 2 of them new; kept 3 that this run did not look for; dropped 1 that are gone"
    )


def entry(**changes: object) -> str:
    item = {key: getattr(ENTRY, key) for key in ENTRY.__slots__} | changes
    return json.dumps({key: value for key, value in item.items() if value is not None})


def items(*given: str, version: object = 1, tool: str = "bnlint") -> str:
    return f'{{"version": {json.dumps(version)}, "tool": "{tool}", "findings": [\n{",".join(given)}\n]}}'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ":1:1: not valid JSON: Expecting value"),
        (items(entry(), "x"), ":2:151: not valid JSON: Expecting value"),
        (
            TEXT.replace('    {"filename": "try', '<<<<<<< ours\n    {"filename": "try'),
            ":8:1: a merge was left unfinished",
        ),
        (
            TEXT.replace('    {"filename": "try', '=======\n{"filename": "try'),
            ":8:1: a merge was left unfinished",
        ),
        ("[" * 100_000, ": not valid JSON: "),
        ("9" * 5000, ": not valid JSON: "),
        ("[]", ': is no baseline of bnlint: its "tool" is not "bnlint"'),
        (items(tool="ruff"), ': is no baseline of bnlint: its "tool" is not "bnlint"'),
        (items(version=2), ": its version is 2, and this bnlint reads 1 only"),
        (items(version=None), ": its version is null, and this bnlint reads 1 only"),
        ('{"version": 1, "tool": "bnlint", "findings": {}}', ': its "findings" are not a list'),
        (items(entry(), "7"), ": entry 2: is not an object"),
        (items(entry(), entry(fingerprint=None)), ': entry 2 (src/a.py BN301): its "fingerprint" is missing'),
        (items(entry(filename=None)), ': entry 1 (BN301): its "filename" is missing'),
        (items(entry(text=7)), ': entry 1 (src/a.py BN301): its "text" is not a string'),
        (items("{}"), ': entry 1: its "filename" is missing'),
    ],
)
@pytest.mark.parametrize("use", ["read", "write"])
def test_a_file_that_is_wrong_is_left_as_it_is(text, problem, use) -> None:
    with project({}) as code:
        code.file.write_text(text, encoding="utf-8")
        with pytest.raises(BaselineError) as raised:
            code.write() if use == "write" else baseline.read(code.file)
        assert str(raised.value).startswith(f"{code.file}{problem}")
        assert code.file.read_text(encoding="utf-8") == text


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    def problem(file: Path, use: Callable[[Path], object]) -> str:
        with pytest.raises(BaselineError) as raised:
            use(file)
        return str(raised.value).removeprefix(str(tmp_path))

    def write(file: Path) -> object:
        return baseline.write(file, [], lambda _: (), [tmp_path])

    (tmp_path / "latin.json").write_bytes('["größe"]'.encode("latin-1"))
    assert (
        problem(tmp_path / "none.json", baseline.read)
        == "/none.json: no such file: --write-baseline makes it"
    )
    assert problem(tmp_path / "latin.json", baseline.read).startswith("/latin.json: not valid UTF-8: ")
    assert problem(tmp_path, baseline.read) == ": cannot be read: Is a directory"
    assert problem(tmp_path, write) == ": cannot be read: Is a directory"
    assert (
        problem(tmp_path / "no" / "b.json", write)
        == "/no/b.json: cannot be written: No such file or directory"
    )
    assert os.listdir(tmp_path) == ["latin.json"]


def test_people_may_edit_the_file() -> None:
    edited = items(entry(why="it is frozen", priority=3), '"to be mended in May"', entry(filename="../b.py"))
    with project({}) as code:
        code.file.write_text("\ufeff" + edited.replace("\n", "\r\n"), encoding="utf-8")
        assert baseline.read(code.file).entries == (ENTRY, replace(ENTRY, filename="../b.py"))


def test_a_write_that_fails_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with project(KNOWN) as code:
        code.write()
        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(BaselineError, match="cannot be written: No space left on device"):
            code.become({}).write()
        assert code.file.read_text(encoding="utf-8") == TEXT
        assert sorted(os.listdir(code.folder)) == ["known.json", "src"]


# What is known, and what is not


def test_a_third_equal_finding_is_new() -> None:
    with project({"a.py": (LOADER, LOADER)}) as code:
        code.write()
        new, gone = code.become({"a.py": (LOADER, "", LOADER, LOADER)}).split()
        assert [one.where.row for one in new] == [4]
        assert gone == []


AT = (5, 1, 5, 9, 1), (1, 1, 1, 9, 2)
"""The fifth row of a notebook's first cell, and the first row of the second."""


def test_the_last_of_equal_findings_is_called_new() -> None:
    with project({"a.py": (LOADER,), "b.ipynb": (LOADER,)}) as code:
        code.write()
        after = code.become({"a.py": (LOADER,), "b.ipynb": ("", LOADER, LOADER, "", LOADER)})
        assert [one.where.cell for one in after.split()[0]] == [3, 5]
        low, next_cell = (replace(code.findings[1], where=Where(code.path("b.ipynb"), *at)) for at in AT)
        for both in ([low, next_cell], [next_cell, low]):
            new, _ = baseline.read(code.file).split(both, lambda _: [LOADER] * 5, [code.path("b.ipynb")])
            assert new == (next_cell,)
        left = code.findings[0]
        right = replace(left, where=replace(left.where, column=20))
        known = baseline.read(code.file)
        for both in ([left, right], [right, left]):
            assert known.split(both, lambda _: [LOADER], [code.path("a.py")]) == ((right,), ())


def test_a_bug_that_is_fixed_does_not_hide_its_copy() -> None:
    with project({"a.py": (LOADER,), "b.py": ()}) as code:
        code.write()
        after = code.become({"a.py": (), "b.py": (LOADER,)})
        new, gone = after.split()
        assert [one.where.filename for one in new] == [code.path("b.py")]
        assert gone == [replace(ENTRY, filename="a.py")]
        new, gone = after.become({"b.py": (LOADER,)}).split()
        assert (new, gone) == ([], [])


def test_a_moved_file_is_known_where_only_its_new_place_is_linted() -> None:
    with project({"a.py": (LOADER,), "b.py": (EPS,)}) as code:
        code.write()
        after = code.become({"c.py": (LOADER,), "b.py": (EPS,)})
        assert after.split("c.py") == ([], [])
        assert after.write("c.py") == baseline.Written(1, 0, 1, 0)
        assert [one.filename for one in baseline.read(code.file).entries] == ["b.py", "c.py"]


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [
        (["a.py"], ["b.py", "c.py"], "c.py"),
        (["old/a.py"], ["new/a.py", "old/b.py"], "old/b.py"),
        (["old/a.py"], ["new/b.py", "old/c.py"], "new/b.py"),
        (["src/x/a.py", "src/y/a.py"], ["lib/w/a.py", "lib/x/a.py", "lib/y/a.py"], "lib/w/a.py"),
        (["src/x/a.py"], ["a/a.py", "b/x/a.py"], "a/a.py"),
        (["src/a.py"], ["lib/a.py", "lib/src/a.py"], "lib/a.py"),
        (["model.py"], ["a/__init__.py", "model/__init__.py"], "model/__init__.py"),
    ],
)
def test_a_moved_file_is_rather_one_whose_path_looks_like_it(before, after, new) -> None:
    with project(dict.fromkeys(before, (LOADER,))) as code:
        code.write()
        found, gone = code.become(dict.fromkeys(after, (LOADER,))).split()
        assert [os.path.relpath(one.where.filename, code.folder) for one in found] == [new]
        assert gone == []


def test_of_two_moved_files_the_last_is_called_gone() -> None:
    with project({"x/a.py": (LOADER,), "y/a.py": (LOADER,)}) as code:
        code.write()
        after = code.become({"z/a.py": ("", LOADER)})
        assert after.split() == ([], [replace(ENTRY, filename="y/a.py")])
        after = after.become({"z/b.py": ("", LOADER), "z/c.py": (LOADER,), "z/d.py": ("", LOADER)})
        assert [one.where.filename for one in after.split()[0]] == [code.path("z/d.py")]
        mixed = after.findings[::-1]
        new, _ = baseline.read(code.file).split(mixed, after.lines, [code.folder])
        assert [one.where.filename for one in new] == [code.path("z/d.py")]


def test_a_file_that_is_a_broken_link_is_still_there() -> None:
    with project({"a.py": (LOADER,)}) as code:
        code.write()
        after = code.become({"b.py": (LOADER,)})
        Path(code.path("a.py")).symlink_to("nowhere")
        assert after.split() == (after.findings, [replace(ENTRY, filename="a.py")])


def test_a_file_that_is_only_in_an_editor_is_there() -> None:
    with project({"a.py": (LOADER, EPS)}) as code:
        code.write()
        texts = {"a.py": (EPS,), "b.py": (LOADER,)}
        after = replace(code.become({}), files=texts)
        assert after.split() == (after.findings[1:], [replace(ENTRY, filename="a.py")])


def test_entries_of_files_that_were_removed_are_gone() -> None:
    with project({"src/a.py": (LOADER,), "lib/b.py": (LOADER,)}) as code:
        code.write()
        after = code.become({})
        assert after.split("src") == ([], [ENTRY])
        assert after.split("src/a.py") == ([], [ENTRY])
        assert after.split("sr", "src/a", "other", "lib/other/") == ([], [])
        assert [one.filename for one in after.split()[1]] == ["lib/b.py", "src/a.py"]
        assert [one.filename for one in after.become({"src/a.py": ()}).split()[1]] == ["lib/b.py", "src/a.py"]


FAULT = Finding("BN000", "unreadable-source", "message", "error", "high", Where("", 1))


@pytest.mark.parametrize("place", ["src/a.py", "src"])
def test_nothing_is_gone_from_what_could_not_be_read(place) -> None:
    with project({"src/a.py": (LOADER,), "b.py": (EPS,)}) as code:
        code.write()
        fault = replace(FAULT, where=Where(code.path(place)))
        new, gone = baseline.read(code.file).split([fault], lambda _: (), [code.folder])
        assert new == (fault,)
        assert [one.filename for one in gone] == ["b.py"]
        assert baseline.write(code.file, [fault], lambda _: (), [code.folder]) == baseline.Written(1, 1, 1, 1)
        assert baseline.read(code.file).split([fault], lambda _: (), [code.folder]) == ((), ())
        new, gone = baseline.read(code.file).split([], lambda _: (), [code.folder])
        assert [(one.filename, one.name) for one in gone] == [
            (place, "unreadable-source"),
            ("src/a.py", "tiny-batch"),
        ]


def test_our_own_fault_is_never_known_and_takes_nothing_out() -> None:
    with project({"src/a.py": (LOADER,), "b.py": (EPS,)}) as code:
        code.write()
        before = code.file.read_bytes()
        fault = replace(FAULT, name="internal-fault", where=Where(code.path("b.py")))
        assert baseline.read(code.file).split([fault], code.lines, [code.folder]) == ((fault,), ())
        assert baseline.write(code.file, [fault], code.lines, [code.folder]) == baseline.Written(0, 0, 2, 0)
        assert code.file.read_bytes() == before


# Where files are


def test_the_baseline_may_lie_beside_the_project_or_move() -> None:
    with project({"src/a.py": (LOADER,), "src/b.py": (EPS,)}) as code:
        below = code.folder / "src" / "deep"
        below.mkdir()
        file = below / "known.json"
        baseline.write(file, code.findings, code.lines, [code.folder])
        assert [one.filename for one in baseline.read(file).entries] == ["../a.py", "../b.py"]
        assert baseline.read(file).split(code.findings, code.lines, [code.folder]) == ((), ())
        _, gone = baseline.read(file).split([], code.lines, [code.path("src/a.py")])
        assert gone == (replace(ENTRY, filename="../a.py"),)
        file.rename(code.file)
        assert code.split() == ([], [])


def test_links_lead_to_the_same_entries(tmp_path: Path) -> None:
    with project({"src/a.py": (LOADER,)}) as code:
        code.write()
        (tmp_path / "way").symlink_to(code.folder)
        way = Project(tmp_path / "way", code.files)
        assert way.split() == ([], [])
        known = baseline.read(code.file)
        assert known.split(way.findings, way.lines, [way.folder / "src"]) == ((), ())
        assert known.split([], way.lines, [way.folder / "src"]) == ((), (ENTRY,))
        assert known.split([], way.lines, [way.folder / "src" / "a.py"]) == ((), (ENTRY,))
        assert known.split([], way.lines, [way.folder]) == ((), (ENTRY,))
        fault = replace(FAULT, where=Where(way.path("src/a.py")))
        assert known.split([fault], way.lines, [code.folder]) == ((fault,), ())


def test_a_baseline_that_is_a_link_stays_one(tmp_path: Path) -> None:
    with project({"src/a.py": (LOADER,)}) as code:
        code.file.symlink_to(tmp_path / "shared.json")
        code.write()
        assert code.file.is_symlink()
        assert baseline.read(code.file).entries == (ENTRY,)
        assert code.split() == ([], [])


def test_relative_paths_are_those_of_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    with project({"src/a.py": (LOADER,)}) as code:
        code.write()
        monkeypatch.chdir(code.folder / "src")
        known = baseline.read("../known.json")
        here = replace(code.findings[0], where=replace(code.findings[0].where, filename="a.py"))
        assert known.split([here], lambda _: [LOADER], ["."]) == ((), ())
        assert known.split([], lambda _: [], ["."]) == ((), (ENTRY,))
        monkeypatch.undo()


# The linter itself


def test_findings_of_real_code_survive_edits_and_moves(tmp_path: Path) -> None:
    def split() -> tuple[list[str], list[str]]:
        report = bnlint.lint(tmp_path / "code", isolated=True)
        new, gone = baseline.read(file).split(report.findings, report.view.lines, [tmp_path])
        return [f"{one.where.filename}:{one.where.row}: {one.code}" for one in new], list(map(str, gone))

    file = tmp_path / "known.json"
    shutil.copytree(FIXTURES, tmp_path / "code" / "old")
    report = bnlint.lint(tmp_path / "code", isolated=True)
    written = baseline.write(file, report.findings, report.view.lines, [tmp_path])
    assert written.findings == len(report) > 100
    assert split() == ([], [])
    for source in (tmp_path / "code").rglob("bad_*.py"):
        source.write_text("# a line more\n\n" + source.read_text(encoding="utf-8"), encoding="utf-8")
    assert split() == ([], [])
    (tmp_path / "code" / "old").rename(tmp_path / "code" / "new")
    assert split() == ([], [])
    eps = next(one for one in report if one.code == "BN405")
    source = tmp_path / "code" / "new" / Path(eps.where.filename).relative_to(tmp_path / "code" / "old")
    source.unlink()
    assert split()[0] == []
    assert {line.split(": ")[1].split()[0] for line in split()[1]} >= {"BN405"}
