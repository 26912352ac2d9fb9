"""The table of models of known libraries: which of them have BatchNorm, and which only Dropout.

    python tests/zoo.py FOLDER...

reads the sources of the libraries that lie in these folders (a `site-packages`, an unpacked wheel or
source distribution), builds each of their public models with its default arguments, as bnlint itself
follows constructors, and writes `bnlint/source/zoo.json` anew. Nothing is imported or run. What could
not be decided is left out. The table holds all libraries or none: it is not written where one is missing.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from multiprocessing import Pool
from pathlib import Path

from bnlint.source import summary as ir
from bnlint.source import zoo
from bnlint.source.disk import Disk
from bnlint.source.extract import extract
from bnlint.source.interpret import Interpreter, OutOfFuel
from bnlint.source.link import Project
from bnlint.source.objects import last_name
from bnlint.source.structure import Structure
from bnlint.source.values import Args, ArgVal, ClassVal, Const, Func, Module, Obj, Place, Value, fresh

TABLE = Path(__file__).parent.parent / "bnlint" / "source" / "zoo.json"
TASKS = (
    (("transformers",), ()),
    (("timm",), ("torchvision",)),
    (("torchvision", "segmentation_models_pytorch", "pretrainedmodels"), ("timm",)),
    (("efficientnet_pytorch",), ()),
)
"""The libraries that are followed together, and those that they are built on."""
FUEL = 60_000
"""Statements that building one model may take."""
EMPTY_ENVIRONMENT = {
    "/environment/os/__init__.py": b"environ = {}\ndef getenv(key, default=None):\n    return default\n"
}
"""What libraries find in `os.environ`: their defaults count."""
SKIPPED = {"tests", "quantization", "datasets", "data", "utils", "scripts"}
"""Folders that hold no models of their own."""
VERSION = re.compile(r"""^(?:__version__\s*=\s*["']|Version: )([\w.]+)""", re.MULTILINE)

Answers = dict[str, str]


def find(name: str, folders: Iterable[Path]) -> Path:
    """The folder of a library's package."""
    for folder in folders:
        if (folder / name / "__init__.py").is_file():
            return folder / name
    sys.exit(f"{name}: in none of the folders")


def version(package: Path) -> str:
    """Which version of a library lies there."""
    told = [*package.parent.glob(f"{package.name}-*.dist-info/METADATA"), package.parent / "PKG-INFO"]
    told += [package / f"{name}.py" for name in ("version", "__version__", "__init__")]
    for file in told:
        found = VERSION.search(file.read_text(encoding="utf-8")) if file.is_file() else None
        if found:
            return found[1].partition("+")[0]
    sys.exit(f"{package}: no version")


def vision(package: Path) -> list[Path]:
    """The folders of transformers' models that look at images."""
    folders = {file.parent for file in (package / "models").glob("*/image_processing_*.py")}
    for file in (package / "models").glob("*/modeling_*.py"):
        if "ForImageClassification(" in file.read_text(encoding="utf-8"):
            folders.add(file.parent)
    return sorted(folders)


def core(package: Path) -> list[Path]:
    """What the models of transformers build on, and those that look at images; the rest is read when asked."""
    files = [*package.glob("*.py"), *(package / "utils").glob("*.py")]
    for pattern in ("modeling_*.py", "configuration_*.py"):
        files += [file for folder in vision(package) for file in folder.glob(pattern)]
    return sorted(files)


class Sources:
    """The sources of some libraries, read and linked."""

    def __init__(self, packages: dict[str, Path]) -> None:
        summaries = {name: extract(data, name) for name, data in EMPTY_ENVIRONMENT.items()}
        for package in packages.values():
            for file in sorted(package.rglob("*.py")) if package.name != "transformers" else core(package):
                summaries[str(file)] = extract(file.read_bytes(), str(file))
        self.packages = packages
        self.project = Project(summaries, Disk(EMPTY_ENVIRONMENT))
        self.run = Interpreter(self.project)
        self.structure = Structure(self.run, strict=True)
        for name in sorted(summaries):
            if "/models/" not in name:  # whoever imports in a circle comes first in Python, too
                self.module(name)

    def module(self, filename: str) -> Module:
        found = self.project.module(filename)
        assert found is not None
        self.project.start(self.run, found)
        return found

    def modules(self, library: str, folder: str) -> Iterator[Module]:
        """The files below a folder of a library."""
        root = self.packages[library]
        for file in sorted((root / folder).rglob("*.py")):
            if not SKIPPED & set(file.relative_to(root).parts):
                yield self.module(str(file))

    def named(self, module: Module, name: str) -> Value | None:
        return self.run.root.get((module.key, name))

    def functions(self, module: Module, decorator: str | None) -> Iterator[tuple[str, Func]]:
        """The public functions of a file, or those with a decorator."""
        for stmt in module.summary.body:
            if not isinstance(stmt, ir.Function) or stmt.name.startswith("_"):
                continue
            if decorator is None or decorator in map(last_name, stmt.decorators):
                value = self.named(module, stmt.name)
                if isinstance(value, Func):
                    yield stmt.name, value

    def classes(self, module: Module) -> Iterator[tuple[str, ClassVal]]:
        """The public classes of a file that are modules."""
        for stmt in module.summary.body:
            if isinstance(stmt, ir.Class) and not stmt.name.startswith("_"):
                value = self.named(module, stmt.name)
                if not isinstance(value, ClassVal) or self.run.objects.is_module(value) != "yes":
                    continue
                init = self.run.objects.find(value, "__init__")
                taken = {p.name for p in init.function.params} if isinstance(init, Func) else set()
                if not taken & {"backbone", "model"}:  # what these are decides
                    yield stmt.name, value

    def make(self, builder: Func | ClassVal, args: Args) -> Value | None:
        """What a builder builds; None where that takes too long to follow."""
        place = Place("", ir.Span(1, 0, 1, 0))
        try:
            with self.structure.alone(FUEL):
                if isinstance(builder, ClassVal):
                    return Obj(fresh(), builder, args, place)
                return self.run.force(self.run.run(builder, args, None, place))
        except (OutOfFuel, RecursionError):
            return None

    def answer(self, model: Value | None) -> str | None:
        """How the table says what a model has; None where that is not known."""
        try:
            batchnorm = "unknown" if model is None else self.structure.has_batchnorm(model)
            if batchnorm != "no" or model is None:
                return "batchnorm" if batchnorm == "yes" else None
            found = self.structure.has_dropout(model)
        except (OutOfFuel, RecursionError):
            return None
        return {"yes": "dropout", "no": "neither"}.get(found, "no batchnorm")

    def part(self, model: Value | None, name: str) -> Value | None:
        """An attribute of a model that was built."""
        if not isinstance(model, Obj):
            return None
        with self.structure.alone(FUEL):
            return self.run.force(self.run.objects.attribute(model, name))


def keywords(**values: object) -> Args:
    """Arguments that are constants."""
    place = Place("", ir.Span(1, 0, 1, 0))
    return Args(tuple(ArgVal(name, Const(value), place) for name, value in values.items()))


def add(answers: Answers, name: str, answer: str | None) -> None:
    """Keep an answer; a name with two answers has none."""
    answers[name] = "" if answer is None or answers.get(name, answer) != answer else answer


def builders(sources: Sources, library: str, decorator: str | None) -> Answers:
    """The functions of a library that build models, and torchvision's classes of them."""
    answers: Answers = {}
    for module in sources.modules(library, "models"):
        for name, cls in sources.classes(module) if library == "torchvision" else ():
            add(answers, name, sources.answer(sources.make(cls, Args(entry=True))))
        for name, func in sources.functions(module, decorator):
            made = sources.make(func, Args())
            if isinstance(made, Obj):
                add(answers, name, sources.answer(made))
    return answers


def segmentation(sources: Sources) -> tuple[Answers, Answers]:
    """The architectures of segmentation_models_pytorch without their encoders, and the encoders."""
    library = "segmentation_models_pytorch"
    root = sources.packages[library]
    top = sources.module(str(root / "__init__.py"))
    heads, encoders = {}, {}
    for item in sources.run.items(sources.named(top, "_MODEL_ARCHITECTURES")).held:
        model = sources.make(item.value, keywords(encoder_weights=None))
        found = [sources.answer(sources.part(model, name)) for name in ("decoder", "segmentation_head")]
        heads[item.value.klass.name] = worst(found)
    home = sources.module(str(root / "encoders" / "__init__.py"))
    get_encoder = sources.named(home, "get_encoder")
    for name in sources.run.entries(sources.named(home, "encoders")).held:
        add(encoders, name, sources.answer(sources.make(get_encoder, keywords(name=name))))
    return heads, encoders


def worst(found: list[str | None]) -> str:
    """What several parts have together."""
    if "batchnorm" in found:
        return "batchnorm"
    if None in found:
        return ""
    return next((answer for answer in ("dropout", "no batchnorm") if answer in found), "neither")


def transformers(sources: Sources) -> tuple[Answers, Answers]:
    """The models of transformers with their default configuration, and the types whose models agree."""
    answers: Answers = {}
    types: Answers = {}
    for folder in vision(sources.packages["transformers"]):
        files = [*sorted(folder.glob("configuration_*.py")), *sorted(folder.glob("modeling_*.py"))]
        modules = [sources.module(str(file)) for file in files]
        configs = dict(pair for module in modules for pair in configurations(sources, module))
        found: list[str] = []
        for module in modules:
            for name, cls in sources.classes(module) if "modeling" in module.name else ():
                if re.search(r"PreTrainedModel$|Layer$|Block$", name) or not is_public(sources, module, name):
                    continue
                fitting = max((c for c in configs if name.startswith(c)), key=len, default=None)
                config = None if fitting is None else sources.make(configs[fitting], Args())
                given = Args() if config is None else Args((ArgVal(None, config, config.place),))
                answer = None if config is None else sources.answer(sources.make(cls, given))
                found.append(answer or "")
                add(answers, name, answer)
        if found and len(set(found)) == 1 and found[0]:
            types[folder.name] = found[0]
    return answers, types


def configurations(sources: Sources, module: Module) -> Iterator[tuple[str, ClassVal]]:
    """The configurations that a file defines, by what their models' names begin with."""
    for stmt in module.summary.body:
        value = sources.named(module, stmt.name) if isinstance(stmt, ir.Class) else None
        if isinstance(value, ClassVal) and stmt.name.endswith("Config"):
            yield stmt.name.removesuffix("Config"), value


def is_public(sources: Sources, module: Module, name: str) -> bool:
    """Whether a file lists a name in its `__all__`."""
    listed = sources.named(module, "__all__")
    items = None if listed is None else sources.run.items(listed)
    return items is not None and any(isinstance(h.value, Const) and h.value.value == name for h in items.held)


def tables(task: tuple[list[str], dict[str, Path]]) -> dict[str, Answers]:
    """The answers for some libraries that are built on each other."""
    libraries, packages = task
    sys.setrecursionlimit(10_000)
    zoo.HOMES = ()  # what an earlier table says is no answer
    sources = Sources(packages)
    found: dict[str, Answers] = {}
    for library in libraries:
        if library == "segmentation_models_pytorch":
            found[library], found[f"{library}.encoders"] = segmentation(sources)
        elif library == "transformers":
            found[library], found[f"{library}.types"] = transformers(sources)
        elif library == "efficientnet_pytorch":
            found[library] = {"EfficientNet": efficientnet(sources) or ""}
        else:
            registered = None if library == "pretrainedmodels" else "register_model"
            found[library] = builders(sources, library, registered)
    return found


def collect(folders: list[Path]) -> dict[str, object]:
    """The whole table."""
    packages = {name: find(name, folders) for libraries, _ in TASKS for name in libraries}
    tasks = [
        (libraries, {name: packages[name] for name in (*libraries, *bases)}) for libraries, bases in TASKS
    ]
    with Pool(len(tasks)) as pool:
        answers = {
            name: found for made in pool.map(tables, tasks, chunksize=1) for name, found in made.items()
        }
    return {
        "models": {library: by_answer(found) for library, found in answers.items()},
        "sources": {name: version(package) for name, package in packages.items()},
    }


def efficientnet(sources: Sources) -> str | None:
    """`EfficientNet.from_name("efficientnet-b0")`"""
    module = sources.module(str(sources.packages["efficientnet_pytorch"] / "model.py"))
    cls = sources.named(module, "EfficientNet")
    with sources.structure.alone(FUEL):
        place = Place("", ir.Span(1, 0, 1, 0))
        from_name = sources.run.objects.attribute(cls, "from_name")
        made = sources.run.force(sources.run.call(from_name, keywords(model_name="efficientnet-b0"), place))
    return sources.answer(made)


def by_answer(answers: Answers) -> dict[str, list[str]]:
    """The names with each answer, sorted."""
    kinds = sorted({answer for answer in answers.values() if answer})
    return {kind: sorted(name for name, answer in answers.items() if answer == kind) for kind in kinds}


def report(table: dict[str, object]) -> None:
    """Say how many names there are."""
    for library, kinds in table["models"].items():
        print(library, {kind: len(names) for kind, names in kinds.items()})


def main() -> None:
    """Write the table."""
    table = collect([Path(folder).absolute() for folder in sys.argv[1:]])
    TABLE.write_text(json.dumps(table, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    report(table)


if __name__ == "__main__":
    main()
