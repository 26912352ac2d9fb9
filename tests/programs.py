"""Programs for the tests of the source engine: followed, and shown as plain values."""

from __future__ import annotations

import textwrap
from pathlib import Path

from bnlint.source import extract, link
from bnlint.source import values as v
from bnlint.source.disk import Disk
from bnlint.source.interpret import Interpreter

FUEL = 100_000


class Program:
    """A project in a folder whose files were run, as the engine does it first."""

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        self.folder = folder
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        names = [str(folder / name) for name in files]
        summaries = {name: extract.extract(Path(name).read_bytes(), name) for name in names}
        self.project = link.Project(summaries, Disk())
        self.run = Interpreter(self.project)
        for name in sorted(summaries):
            self.project.start(self.run, self.project.module(name))
        self.run.fuel = FUEL

    def value(self, name: str, file: str = "main.py") -> v.Value:
        """What a file's name is bound to when it has run."""
        module = self.project.module(str(self.folder / file))
        return self.run.force(self.project.member(self.run, module, name))

    def __getitem__(self, name: str) -> object:
        return self.plain(self.value(name))

    def plain(self, value: v.Value) -> object:
        """A value as Python would show it; words in angle brackets for what is not known."""
        value = self.run.force(value)
        match value:
            case v.Const(value=constant):
                return constant
            case v.Sym(default=v.Const(value=constant)):
                return ("default", constant)
            case v.Sym():
                return "<unknown>"
            case v.External(path=path):
                return f"<{path}>"
            case v.Obj(cls=v.External(path=path)):
                return f"<a {path}>"
            case v.Obj(cls=cls):
                return f"<a {cls.klass.name}>"
            case v.ClassVal(klass=klass):
                return f"<class {klass.name}>"
            case v.Func(function=function):
                return f"<function {function.name}>"
            case v.Module(name=name):
                return f"<module {name}>"
            case v.ListVal(kind=kind):
                items = self.run.items(value)
                cells: list[object] = [self.plain(held.value) for held in items.held]
                cells += ["<more>"] if items.open else []
                return tuple(cells) if kind == "tuple" else cells
            case v.DictVal():
                entries = self.run.entries(value)
                shown = {key: self.plain(entry) for key, entry in entries.held.items()}
                return {**shown, **({"<more>": True} if entries.open else {})}
            case v.Either(alternatives=ways):
                return {self.plain(way) for _, way in ways}
        return f"<{type(value).__name__}>"

    def modes(self, row: int, file: str = "main.py") -> set[str]:
        """The modes in which a model can be at the forwards of a row."""
        return {mode.mode for event in self.forwards(row, file) for mode in event.modes}

    def forwards(self, row: int, file: str = "main.py") -> list:
        name = str(self.folder / file)
        return [
            event
            for event in self.run.events.record.forwards
            if event.place.filename == name and event.place.span.row == row
        ]
