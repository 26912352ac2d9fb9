"""Random Python: programs that parse, made of all that the source engine has to read."""

from __future__ import annotations

import ast

from hypothesis import strategies as st

ATOMS = (
    *("a", "b", "net", "model", "nn", "self", "x", "f", "G", "[]", "()", "{}", "nn.Conv2d(1, 2, 3)"),
    *("0", "1", "-2", "0.5", "1j", "True", "None", "...", "'text'", "b'b'", "''"),
)
OPERATORS = ("+", "-", "*", "/", "//", "%", "**", "@", "|", "&", "^", "<<", ">>")
EXPRESSIONS = (
    *(f"(? {op} ?)" for op in OPERATORS),
    *(f"(? {op} ?)" for op in ("==", "!=", "<", ">=", "is", "is not", "in", "not in", "and", "or")),
    *("(? < ? <= ?)", "(? and ? and ?)", "(not ?)", "(-?)", "(+?)", "(~?)", "(? if ? else ?)", "(a := ?)"),
    *("(?).train", "(?).training", "(?).bn", "(?).data", "(?)[?]", "(?)[?:?]", "(?)[::-1, ...]"),
    *(
        "(?)()",
        "(?)(?)",
        "(?)(?, *?, bias=?, **?)",
        "(?).eval()",
        "(?).train(?)",
        "(?).append(?)",
        "(?).to(?)",
    ),
    *("nn.Sequential(?, ?)", "nn.Sequential(*?)", "nn.BatchNorm2d(?, eps=?)", "nn.ModuleList(?)", "len(?)"),
    *("[?, *?]", "(?,)", "{?, 1}", "{?: ?, **?}", "(lambda a, *b, **c: ?)", 'f"{a} and {f(x)!r:>3}"'),
    *("[? for a in ?]", "[? for a in ? if ? if ?]", "{? for a, *b in ?}", "(? for self.x in ? for b in ?)"),
    *(
        "{?: ? for (a, b) in ? if ?}",
        "super().forward(?)",
        "isinstance(?, ?)",
        "getattr(?, 'bn', ?)",
        "zip(?, ?)",
    ),
    *(
        "range(?)",
        "enumerate(?)",
        "dict(a=?)",
        "list(?)",
        "next(iter(?))",
        "torch.save(?, ?)",
        "partial(?, ?)",
    ),
)
STATEMENTS = (
    *(
        f"{to} = ?"
        for to in ("a", "b", "net", "self.bn", "a[0]", "a['k']", "a, b", "[a, *b]", "a = b", "f(x).y")
    ),
    *(f"a {op}= ?" for op in OPERATORS),
    *(
        "a: int = ?",
        "?",
        "?",
        "return ?",
        "assert ?, 'why'",
        "raise ?",
        "a = yield ?",
        "yield from ?",
        "await ?",
    ),
    *(
        "del a",
        "del a.b, a[0]",
        "pass",
        "break",
        "continue",
        "return",
        "raise",
        "global a",
        "a: int",
        "'''prose'''",
    ),
    *(
        "import torch",
        "import torch.nn as nn",
        "import a.b",
        "from torch.nn import *",
        "from torch import nn",
    ),
    *("from . import a", "from .b import *", "from ..c import d as e", "import numpy as np", "nonlocal b"),
)
BLOCKS = (
    *(
        "if ?:\n#",
        "if ?:\n#\nelse:\n#",
        "while ?:\n#",
        "while ?:\n#\nelse:\n#",
        "for a, b in ?:\n#\nelse:\n#",
    ),
    *("for self.x in ?:\n#", "async for a in ?:\n#", "with ? as a, ?:\n#", "async with ? as (a, b):\n#"),
    *(
        "def model():\n#",
        "def forward(self, x):\n#",
        "def train(self, mode=True):\n#",
        "def __init__(self):\n#",
    ),
    *("async def f(a, b=?, /, *, c=?):\n#", "@?\ndef f(self, x: a = ?, *args, **kwargs):\n#", "class G:\n#"),
    *("class G(nn.Module):\n#", "class G(G):\n#", "@?\nclass Net(?, metaclass=b):\n#"),
    "try:\n#\nexcept (a, b) as c:\n#\nelse:\n#\nfinally:\n#",
    "match ?:\n    case 1 | 'b':\n#\n    case [a, *_] if b:\n        pass\n    case {'k': c}:\n#\n    case _:\n        pass",
)


@st.composite
def expressions(draw, depth=0):
    """An expression: a template, whose question marks stand for smaller ones."""
    if depth == 3 or draw(st.booleans()):
        return draw(st.sampled_from(ATOMS))
    return filled(draw, draw(st.sampled_from(EXPRESSIONS)), depth + 1)


def filled(draw, template, depth):
    first, *rest = template.split("?")
    return first + "".join(draw(expressions(depth)) + part for part in rest)


@st.composite
def blocks(draw, depth=0):
    """Lines of statements: templates, in which a line `#` stands for a smaller block."""
    lines = []
    for _ in range(draw(st.integers(1, 4 - depth))):
        if depth < 3 and draw(st.booleans()):
            for line in draw(st.sampled_from(BLOCKS)).split("\n"):
                if line == "#":
                    indent = len(lines[-1]) - len(lines[-1].lstrip()) + 4
                    lines += [" " * indent + inner for inner in draw(blocks(depth + 1))]
                else:
                    lines.append(filled(draw, line, 1))
        else:
            lines.append(filled(draw, draw(st.sampled_from(STATEMENTS)), 0))
    return lines


def parses(text):
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def joined(lines):
    return "\n".join(["import torch", "from torch import nn", *lines, ""])


PROGRAMS = blocks().map(joined).filter(parses)
