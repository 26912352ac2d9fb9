"""The source engine: files in, facts out."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from bnlint.facts import Facts
from bnlint.finding import Finding, Where
from bnlint.source import summary as ir
from bnlint.source.aliased import Aliases
from bnlint.source.answers import answers, may_answer
from bnlint.source.arrivals import arrivals
from bnlint.source.averaged import Averagings
from bnlint.source.computed import computed
from bnlint.source.devices import Splits
from bnlint.source.disk import Answer, Disk
from bnlint.source.exports import EXPORTING, exports
from bnlint.source.extract import extract, extract_old, is_relevant
from bnlint.source.feeds import Feeds
from bnlint.source.halves import divided
from bnlint.source.hidden import unregistered
from bnlint.source.hooks import run_hooks
from bnlint.source.interpret import Interpreter, OutOfFuel
from bnlint.source.layers import LAYERS
from bnlint.source.link import Project, functions_of
from bnlint.source.names import is_test_file, words
from bnlint.source.objects import SWITCHES
from bnlint.source.overrides import overrides
from bnlint.source.read import Unreadable, is_notebook, load, parse
from bnlint.source.recomputed import Recomputations
from bnlint.source.recurrence import recurrent
from bnlint.source.scripts import EVALUATION, TRAINING, Scripts
from bnlint.source.sharing import shared
from bnlint.source.state import State
from bnlint.source.stochastic import Stochastic
from bnlint.source.structure import Structure
from bnlint.source.thawed import Thaws
from bnlint.source.unsaved import unsaved
from bnlint.source.untracked import Untrackeds
from bnlint.source.values import Args, ClassVal, Func, Module, Obj, Place, fresh

if TYPE_CHECKING:
    from bnlint.source.notebook import Notebook

    Read = tuple[ir.Summary | None, list[Finding], tuple[str, Notebook] | None]

Item = TypeVar("Item")
Progress = Callable[[float, str], None]
"""Is told how much of the run is done, from 0 to 1, and what is being done."""

BUILDING = frozenset(name for name, (kind, _) in LAYERS.items() if kind == "batchnorm") | {"Sequential"}
"""What a function calls that writes an order of layers."""
ENTRY_FUEL = 4_000
"""Statements that one function may take that nobody calls."""
UNWRITTEN = Args(optional=True)
"""A call that nobody wrote."""
STEPPING = frozenset({"step"})
"""A function that trains says what its model answers, and what feeds it."""
LAST_FUEL = 100_000
"""Statements that gathering the facts may take, for values that nobody asked for before."""
READING, STARTED, BUILT = 0.4, 0.5, 0.75
"""How far a run is when the files are read, their bodies were run, and their classes: for progress."""
OWN = frozenset({"train", "eval", "__init__", "forward"})
"""Methods of a module that others are meant to call."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the source engine found out; `faults` are files that it could not read or follow.

    `notebooks` are those that were read. `skipped` are those of other languages, with the reason.
    `asked` is what the facts depend on besides the files that were given.
    """

    facts: Facts
    faults: tuple[Finding, ...]
    notebooks: Mapping[str, Notebook] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    asked: Mapping[str, Answer] = field(default_factory=dict)


def silent(_done: float, _doing: str) -> None:
    """Show no progress."""


def analyse(
    files: Sequence[Path], contents: Mapping[str, bytes] = MappingProxyType({}), progress: Progress = silent
) -> Analysis:
    """Read files and turn them into facts. One file's fault loses nothing of the others.

    `contents` are given in place of what is on the disk. Places in notebooks are those in the module
    that their cells make up: `notebooks` tells where each row comes from.
    """
    with no_garbage_collection():
        reader = Reader(contents)
        names = [str(file.absolute()) for file in files]
        summaries = reader.summaries(names, lambda done: progress(READING * done, "reading"))
        disk = Disk(contents)
        facts = link(summaries, reader.faults, disk, progress)
        skipped = {name: book.skipped for name, book in reader.notebooks.items() if book.skipped}
        return Analysis(facts, tuple(reader.faults), reader.notebooks, skipped, disk.asked)


def steps(items: Sequence[Item], progress: Progress, start: float, end: float) -> Iterator[Item]:
    """Go through items, saying from `start` to `end` how far it has come."""
    for number, item in enumerate(items):
        progress(start + (end - start) * number / len(items), "following")
        yield item


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Summaries are trees without cycles: looking for cycles would double the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Reader:
    """Reads files one by one; what is wrong with one is kept, and so is what notebooks are made of."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self.contents = contents
        self.faults: list[Finding] = []
        self.notebooks: dict[str, Notebook] = {}

    def summaries(self, names: list[str], told: Callable[[float], None]) -> dict[str, ir.Summary]:
        """What files say that say anything, and the faults of all of them, in their order."""
        found: dict[str, ir.Summary] = {}
        for summary, faults, notebook in divided(names, self.read_alone, told):
            self.faults += faults
            if notebook is not None:
                self.notebooks[notebook[0]] = notebook[1]
            if summary is not None:
                found[summary.filename] = summary
        return found

    def read_alone(self, filename: str) -> Read:
        """One file, its faults and its notebook, by a reader that knows of no other file."""
        alone = Reader(self.contents)
        summary = alone.summarise(filename)
        return summary, alone.faults, next(iter(alone.notebooks.items()), None)

    def summarise(self, filename: str) -> ir.Summary | None:
        try:
            data = self.python(filename)
            if is_relevant(data):
                return self.extracted(data, filename)
            if not is_notebook(filename):  # the cells of those were parsed one by one
                parse(data, filename)  # nothing to learn, but what is broken is said
        except Unreadable as error:
            self.faults.append(error.finding(filename))
        except RecursionError:
            self.faults.append(Unreadable("is nested too deeply").finding(filename))
        except Exception as error:
            self.faults.append(internal(filename, error))
        return None

    def extracted(self, data: bytes, filename: str) -> ir.Summary | None:
        """The summary of a file, also of one that only Python 2 can run."""
        try:
            return extract(data, filename)
        except Unreadable as error:
            self.faults.append(error.finding(filename))
            return extract_old(data, filename)

    def python(self, filename: str) -> bytes:
        """The Python of a file: all of it, or that of a notebook's cells."""
        data = self.contents[filename] if filename in self.contents else load(Path(filename))
        if not is_notebook(filename):
            return data
        from bnlint.source.notebook import read  # most projects have none

        notebook = read(data)
        self.notebooks[filename] = notebook
        if notebook.fault is not None:
            self.faults.append(notebook.fault.finding(filename))
        return notebook.source.encode("utf-8", "replace")


def internal(filename: str, error: BaseException) -> Finding:
    """A fault of bnlint itself, with the line of ours that failed."""
    import traceback  # only needed for what went wrong

    last = traceback.extract_tb(error.__traceback__)[-1]
    message = f"internal fault: {type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
    return Finding("BN000", "internal-fault", message, "error", "high", Where(filename))


def link(
    summaries: dict[str, ir.Summary], faults: list[Finding], disk: Disk, progress: Progress = silent
) -> Facts:
    """Run the program that the summaries make up, and gather the facts."""
    project = Project(summaries, disk)
    run = Interpreter(project)
    structure = Structure(run)
    for filename in steps(sorted(summaries), progress, READING, STARTED):
        with guarded(filename, faults):
            module = project.module(filename)
            if module is not None:
                project.start(run, module)
    for cls in steps(list(project.classes), progress, STARTED, BUILT):
        if (
            cls.module.filename in summaries
            and (may_normalise(cls) or may_answer(cls))
            and run.objects.is_module(cls) != "no"
        ):
            with guarded(cls.module.filename, faults):
                structure.run_class(cls)
    seen = set(run.visited)
    for func in functions(run, project):
        with guarded(func.module.filename, faults):
            structure.run_function(func)
            structure.run_calls(func)
    run.visited = seen  # their layers were looked at, not what they do
    entries = Entries(project)
    run_functions(run, entries.first, faults)
    for cls in steps(list(project.classes), progress, BUILT, 1.0):
        with guarded(cls.module.filename, faults):
            run_hooks(run, cls)
        with guarded(cls.module.filename, faults):
            run_methods(run, cls)
    run_functions(run, entries.wants, faults)
    run.fuel = LAST_FUEL
    scripts = Scripts(structure)
    stochastic = Stochastic(scripts)
    feeds = Feeds(scripts)
    return Facts(
        forwards=tuple(scripts.forwards(stochastic.found)),
        exports=tuple(exports(scripts)),
        feeds=tuple(feeds),
        splits=tuple(Splits(feeds)),
        loads=tuple(scripts.loads()),
        saves=tuple(scripts.saves()),
        thaws=tuple(Thaws(scripts)),
        passes=tuple(stochastic),
        averages=tuple(Averagings(scripts)),
        snapshots=tuple(Aliases(scripts)),
        untracked=tuple(Untrackeds(scripts)),
        unsaved=tuple(unsaved(run, project.classes)),
        recomputed=tuple(Recomputations(scripts)),
        overrides=tuple(overrides(structure, project.classes)),
        computed=tuple(computed(structure, project.classes)),
        norms=structure.norms(),
        uses=structure.uses(),
        shared=tuple(shared(structure)),
        recurrent=tuple(recurrent(structure)),
        answers=tuple(answers(structure)),
        unregistered=tuple(unregistered(structure)),
        arrivals=tuple(arrivals(structure)),
    )


def may_normalise(cls: ClassVal) -> bool:
    """Whether a class may build BatchNorm: it names it, or it names a norm in a file that names it."""
    words = cls.klass.words
    return "norm" in words or ("some norm" in words and "norm" in cls.module.summary.words)


class Entries:
    """The functions that are run though nobody calls them: whoever drives the others comes first."""

    def __init__(self, project: Project) -> None:
        self.called: set[str] = set()
        self.driven: set[str] = set()
        self.driving = project.driving
        methods: set[str] = set()
        for function in functions_of(project.summaries.values()):
            self.called |= function.calls - {function.name}
            if is_entered(function):
                (methods if is_method(function) else self.driven).add(function.name)
        self.driven |= methods - OWN

    def wants(self, function: ir.Function) -> bool:
        return is_entered(function) or bool(function.words & STEPPING)

    def first(self, function: ir.Function) -> bool:
        """Whether a function decides what others are given: what they do is judged by what it does before."""
        if function.name in self.called:
            return False
        drives = function.name in self.driving
        return drives or self.wants(function) or bool(function.calls & self.driven)


def is_test(filename: str, function: ir.Function) -> bool:
    """Whether a test runner calls a function: what it leaves out, others may well do."""
    return function.name.startswith("test") and is_test_file(filename)


def is_method(function: ir.Function) -> bool:
    return bool(function.params) and function.params[0].name in {"self", "cls"}


def run_functions(run: Interpreter, wants: Callable[[ir.Function], bool], faults: list[Finding]) -> None:
    """Run functions that nothing has called yet."""
    for module in list(run.project.modules.values()):
        for func in module_functions(run, module):
            if is_test(module.filename, func.function):
                continue
            if id(func.function) not in run.visited and wants(func.function):
                with guarded(func.module.filename, faults):
                    run_entry(run, func)


def run_methods(run: Interpreter, cls: ClassVal) -> None:
    """Methods that switch modes and that nothing in the project calls, on an instance from anywhere."""
    methods = [m for m in cls.klass.methods if not is_test(cls.module.filename, m)]
    is_module = run.objects.is_module(cls) != "no"
    if run.objects.is_module(cls) == "yes" and not any(decides(m) for m in methods):
        return  # a module that anybody may switch: nothing is known of its mode
    entered = (m for m in methods if is_entered(m) or (not is_module and m.words & ({"mode"} | STEPPING)))
    wanted = [m for m in entered if id(m) not in run.visited]
    driven = {m.name for m in wanted} - (OWN if is_module else OWN - {"__init__"})
    if not driven:
        return
    wanted += [m for m in methods if m not in wanted and m.calls & driven and id(m) not in run.visited]
    called = {name for m in methods for name in m.calls}
    ordered = sorted(wanted, key=lambda m: (m.name in called, m.name))
    own = [m for m in ordered if m.name not in OWN or not is_module]
    training = [m for m in own if is_training(m)]
    for names, outside in ((training, False), ([m for m in own if m not in training], True)):
        if not names:
            continue
        obj = Obj(fresh(), cls, Args(), Place(cls.module.filename, cls.klass.span))
        run.events.outside = outside
        with instance(run):
            if outside and training:
                call_methods(run, cls, obj, training)
            run.events.sequel = outside
            call_methods(run, cls, obj, names)


def decides(method: ir.Function) -> bool:
    """Whether a method of a module decides its mode, or what of its state goes where."""
    return bool(method.calls & SWITCHES) or "exchange" in method.words


def is_entered(function: ir.Function) -> bool:
    """Whether a function is worth running though nobody calls it: it uses a model, or moves its state."""
    words = function.words
    if "exchange" in words or ("freeze" in words and "fit" in function.calls):
        return True
    if "export" in words and function.calls & EXPORTING:
        return True
    return "mode" in words and bool(words & {"forward", "step", "state"})


@contextmanager
def instance(run: Interpreter) -> Iterator[None]:
    """An instance whose methods are called one after the other, and nothing else."""
    with run.aside():
        run.state = State(run.root)
        try:
            yield
        finally:
            run.events.outside = run.events.sequel = False


def call_methods(run: Interpreter, cls: ClassVal, obj: Obj, methods: list[ir.Function]) -> None:
    for method in methods:
        func = run.objects.find(cls, method.name)
        if isinstance(func, Func) and (id(method) not in run.visited or run.events.outside):
            run.fuel = ENTRY_FUEL
            run.objects.prepare(obj)
            try:
                run.run(func, UNWRITTEN, obj, None)
            except OutOfFuel:
                return


def is_training(method: ir.Function) -> bool:
    """Whether a method trains: whoever calls it has not put the model into eval mode before."""
    named = set(words(method.name))
    return "step" in method.words and bool(named & TRAINING) and not named & EVALUATION


def run_entry(run: Interpreter, func: Func) -> None:
    """Run a function that nobody calls, with unknown arguments."""
    run.fuel = ENTRY_FUEL
    with run.aside():
        run.state = State(run.root)
        run.run(func, UNWRITTEN, None, None)


def functions(run: Interpreter, project: Project) -> Iterator[Func]:
    """Functions that build layers and that nothing has called."""
    for module in list(project.modules.values()):
        for value in module_functions(run, module):
            function = value.function
            if "norm" in function.words and function.calls & BUILDING and id(function) not in run.visited:
                yield value


def module_functions(run: Interpreter, module: Module) -> Iterator[Func]:
    for stmt in module.summary.body:
        if isinstance(stmt, ir.Function):
            value = run.root.get((module.key, stmt.name))
            if isinstance(value, Func):
                yield value


@contextmanager
def guarded(filename: str, faults: list[Finding]) -> Iterator[None]:
    """A fault while one file is followed is reported with that file, and the rest goes on."""
    try:
        yield
    except (RecursionError, OutOfFuel):
        pass
    except Exception as error:
        faults.append(internal(filename, error))
