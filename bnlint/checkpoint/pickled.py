"""A pickle is read as a text: what it would build is noted down, and nothing of it is called.

A pickle is a program for a small stack machine. `read` follows it with values that do nothing: a name is
a `Name`, and what a call would give is a `Made`. Only what tensors are made of is understood.
`torch.load(weights_only=True)` refuses a file as a whole for one `argparse.Namespace`; this does not, and
it needs neither torch nor the memory that the tensors take.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import IO, Any, Final

from bnlint.checkpoint.foreign import qualified
from bnlint.checkpoint.tensors import Tensor, stored

LONGEST: Final = 1 << 16
"""Characters of a text that is kept: no key is longer."""

MALFORMED: Final = (
    *(ValueError, IndexError, KeyError, TypeError, AttributeError),
    *(OverflowError, MemoryError, RecursionError),
)
"""What following instructions raises that no pickler has written."""


class DamagedError(ValueError):
    """A pickle that cannot be followed; `position` is the byte where the instruction begins."""

    def __init__(self, position: int, why: str) -> None:
        super().__init__(why)
        self.position = position


@dataclass(eq=False, slots=True)
class Name:
    """A name that would be imported, dotted."""

    path: str


@dataclass(eq=False, slots=True)
class Made:
    """What a call of `by` would give, and what would be put into it."""

    by: str
    args: object = ()
    state: object = None
    entries: dict[object, object] = field(default_factory=dict)
    items: list[object] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Storage:
    """Where the numbers of tensors are: the type of an element, empty where it is bytes, and their key.

    Before torch 1.0 a storage could be a view of another one, `offset` elements into it.
    """

    dtype: str
    key: str
    numel: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    """What a pickle holds, the names that it would call in their order, and the storages that it names."""

    value: object
    called: tuple[str, ...]
    storages: tuple[Storage, ...]


Fetch = Callable[[str, int, int], bytes]
"""Gives bytes of a storage: its key, from where on, and how many."""


def read(stream: IO[bytes], fetch: Fetch, order: str = "<") -> Read:
    """Follow the pickle at which a stream stands. Raises `DamagedError`.

    `fetch` gives the bytes of tensors whose numbers are asked for later, `order` is theirs: "<" or ">".
    """
    machine = _Machine(fetch, order)
    position = stream.tell()
    try:
        for opcode, arg, _ in pickletools.genops(stream):
            machine.step(opcode.name, arg)
            position = stream.tell()
        (value,) = machine.last(1)
    except MALFORMED as problem:
        raise DamagedError(position, str(problem)) from problem
    return Read(value, tuple(machine.called), tuple(machine.storages.values()))


class _Machine:
    """The stack, what is above its marks, and the memo."""

    def __init__(self, fetch: Fetch, order: str) -> None:
        self.fetch = fetch
        self.order = order
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.called: dict[str, None] = {}
        self.storages: dict[str, Storage] = {}

    def step(self, name: str, arg: Any) -> None:
        """Follow one instruction."""
        if name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in LITERALS:
            self.stack.append("" if isinstance(arg, (str, bytes)) and len(arg) > LONGEST else arg)
        elif name in STEPS:
            STEPS[name](self, arg)
        elif name not in PASSED_OVER:
            raise ValueError(f"unknown instruction {name}")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def above(self) -> list[Any]:
        """All that is above the last mark."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def mark(self, _arg: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def memoize(self, arg: Any) -> None:
        self.memo[len(self.memo) if arg is None else arg] = self.stack[-1]

    def get(self, arg: Any) -> None:
        self.stack.append(self.memo[arg])

    def pop(self, _arg: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.above()

    def last(self, number: int) -> tuple[Any, ...]:
        """Take the topmost values off the stack."""
        if len(self.stack) < number:
            raise IndexError("too little on the stack")
        taken = tuple(self.stack[len(self.stack) - number :])
        del self.stack[len(self.stack) - number :]
        return taken

    def append(self, items: Iterable[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Made):
            target.items.extend(items)
        elif isinstance(target, list):
            target.extend(items)

    def set(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Made):
            target = target.entries
        if isinstance(target, dict):
            target.update((_key(key), value) for key, value in zip(pairs[::2], pairs[1::2], strict=True))

    def name(self, module: Any, name: Any) -> None:
        self.stack.append(Name(qualified(str(module), str(name))))

    def call(self, function: Any, args: Any) -> None:
        """Note down a call; what tensors are made of is understood."""
        path = function.path if isinstance(function, Name) else f"{getattr(function, 'by', '?')}()"
        self.called.setdefault(path)
        make = MAKERS.get(path) if isinstance(function, Name) else None
        made = make(self, *args) if make and isinstance(args, tuple) else None
        self.stack.append(Made(path, args) if made is None else made)

    def build(self, _arg: Any) -> None:
        (state,) = self.last(1)
        if isinstance(self.stack[-1], Made):
            self.stack[-1].state = state

    def persistent(self, pid: Any) -> None:
        """What stands outside the pickle: a storage, or (before torch 1.6) a class with its source."""
        match pid:
            case ("storage", Name(path=path), str(key), _, int(numel), *rest):
                storage = Storage(STORAGES.get(path.rpartition(".")[2], ""), key, numel)
                self.storages.setdefault(key, storage)
                if rest and isinstance(rest[0], tuple) and _counts(rest[0][1:]):
                    storage = replace(storage, offset=rest[0][1])
                self.stack.append(storage)
            case ("module", Name() as cls, *_):
                self.stack.append(cls)
            case _:
                self.stack.append(Made("persistent", pid))

    def tensor(self, storage: Any, view: Any, dtype: str = "") -> Tensor | None:
        """A tensor that lies in a storage; `view` is its offset, shape and strides."""
        match storage, view:
            case Storage(key=key), (int(offset), tuple(shape), tuple(strides)):
                if _counts((offset, *shape, *strides)):
                    read = lambda start, size: self.fetch(key, start, size)
                    place = offset + storage.offset, shape, strides
                    return stored(dtype or storage.dtype, place, read, self.order)
        return None


def _counts(numbers: Iterable[object]) -> bool:
    return all(isinstance(number, int) and number >= 0 for number in numbers)


def _key(key: object) -> object:
    """A key that can be hashed, whatever it is."""
    return key if isinstance(key, (str, int, float, bytes, type(None))) else object()


def _dictionary(_machine: _Machine, pairs: Any = (), *_: Any) -> dict[object, object]:
    """A dict, also of pairs, as Python 2 wrote OrderedDict."""
    if isinstance(pairs, dict):
        return dict(pairs)
    given = pairs if isinstance(pairs, list) else ()
    return {_key(pair[0]): pair[1] for pair in given if isinstance(pair, (list, tuple)) and len(pair) == 2}


def _rebuilt(machine: _Machine, storage: Any, *view: Any) -> Tensor | None:
    return machine.tensor(storage, view[:3])


def _typed(machine: _Machine, storage: Any, *rest: Any) -> Tensor | None:
    """`_rebuild_tensor_v3`, whose storage is of bytes."""
    dtype = rest[5].path.removeprefix("torch.") if len(rest) > 5 and isinstance(rest[5], Name) else ""
    return machine.tensor(storage, rest[:3], dtype)


def _shaped(_machine: _Machine, _storage: Any, _offset: Any, shape: Any, *_: Any) -> Tensor | None:
    """A tensor whose numbers mean something else: quantised ones."""
    return Tensor(shape) if isinstance(shape, tuple) and _counts(shape) else None


def _retyped(machine: _Machine, function: Any, _cls: Any, args: Any, *_: Any) -> Any:
    """A tensor of a subclass: what makes the plain one is called, with its arguments."""
    machine.call(function, args)
    return machine.stack.pop()


def _reconstructed(machine: _Machine, cls: Any, *args: Any) -> Any:
    """An object that `copyreg` makes: its class is called, and so is the one that it builds on."""
    for one in (cls, *args):
        if isinstance(one, Name):
            machine.called.setdefault(one.path)
    return Made(cls.path, args) if isinstance(cls, Name) else None


MAKERS: Final[dict[str, Callable[..., Any]]] = {
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": lambda _machine, *_: {},
    "builtins.dict": _dictionary,
    "torch._utils._rebuild_tensor": _rebuilt,
    "torch._utils._rebuild_tensor_v2": _rebuilt,
    "torch._utils._rebuild_tensor_v3": _typed,
    "torch._utils._rebuild_qtensor": _shaped,
    "torch._utils._rebuild_parameter": lambda _machine, data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda _machine, data, *_: data,
    "torch._tensor._rebuild_from_type_v2": _retyped,
    "torch.Size": lambda _machine, shape=(), *_: shape,
    "copyreg._reconstructor": _reconstructed,
    "copyreg.__newobj__": _reconstructed,
    "copyreg.__newobj_ex__": _reconstructed,
}
"""What is understood, by the name that is called."""

STORAGES: Final = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
"""The type of the elements, by the class of a storage."""

CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "NEXT_BUFFER": ""}
LITERALS: Final = frozenset(
    name
    for line in (
        "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING",
        "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8",
    )
    for name in line.split()
)
PASSED_OVER: Final = frozenset({"PROTO", "FRAME", "STOP", "READONLY_BUFFER"})


def _pop_mark(machine: _Machine, _arg: Any) -> None:
    machine.above()


def _dict(machine: _Machine, _arg: Any) -> None:
    pairs = machine.above()
    machine.push({})
    machine.set(pairs)


def _object(machine: _Machine, _arg: Any) -> None:
    cls, *args = machine.above()
    machine.call(cls, tuple(args))


def _instance(machine: _Machine, arg: Any) -> None:
    args = tuple(machine.above())
    module, _, name = arg.partition(" ")
    machine.call(Name(qualified(module, name)), args)


STEPS: Final[dict[str, Callable[[_Machine, Any], None]]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _pop_mark,
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    "PUT": _Machine.memoize,
    "BINPUT": _Machine.memoize,
    "LONG_BINPUT": _Machine.memoize,
    "MEMOIZE": _Machine.memoize,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_SET": lambda machine, _: machine.push([]),
    "DICT": _dict,
    "LIST": lambda machine, _: machine.push(machine.above()),
    "FROZENSET": lambda machine, _: machine.push(machine.above()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.above())),
    "TUPLE1": lambda machine, _: machine.push(machine.last(1)),
    "TUPLE2": lambda machine, _: machine.push(machine.last(2)),
    "TUPLE3": lambda machine, _: machine.push(machine.last(3)),
    "APPEND": lambda machine, _: machine.append(machine.last(1)),
    "APPENDS": lambda machine, _: machine.append(machine.above()),
    "ADDITEMS": lambda machine, _: machine.append(machine.above()),
    "SETITEM": lambda machine, _: machine.set(list(machine.last(2))),
    "SETITEMS": lambda machine, _: machine.set(machine.above()),
    "GLOBAL": lambda machine, arg: machine.name(*arg.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.name(*machine.last(2)),
    "REDUCE": lambda machine, _: machine.call(*machine.last(2)),
    "NEWOBJ": lambda machine, _: machine.call(*machine.last(2)),
    "NEWOBJ_EX": lambda machine, _: machine.call(*machine.last(3)[:2]),
    "OBJ": _object,
    "INST": _instance,
    "BUILD": _Machine.build,
    "PERSID": lambda machine, arg: machine.persistent(arg),
    "BINPERSID": lambda machine, _: machine.persistent(machine.last(1)[0]),
    "EXT1": lambda machine, arg: machine.name("copyreg", f"extension {arg}"),
    "EXT2": lambda machine, arg: machine.name("copyreg", f"extension {arg}"),
    "EXT4": lambda machine, arg: machine.name("copyreg", f"extension {arg}"),
}
