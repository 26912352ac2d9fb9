"""Commands of IPython go, Python stays, and each row stays where it was."""

from __future__ import annotations

import ast
import warnings

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager

from bnlint.source.magics import UNKNOWN, Row, python
from bnlint.source.read import Unreadable


def rows(cell: str) -> list[Row] | None:
    return python(cell.split("\n"))


def text(cell: str) -> str:
    found = rows(cell)
    assert found is not None
    assert not any(row.shift for row in found)
    return "\n".join(row.text for row in found)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("%matplotlib inline\nx = 1", "pass\nx = 1"),
        ("!pip install torch\n!!ls", "pass\npass"),
        ("x = 1\n?x\n??x\nx?\nnn.Linear??\n%time?\nx[0]?\nnn.*Norm?", "x = 1" + "\npass" * 7),
        ("x? ", "pass"),
        ("/f x\n,f a b\n;f a", "pass\npass\npass"),
        ("!pip install \\\n  torch \\\n  numpy\nx = 1", "pass\n\n\nx = 1"),
        ("%run a.py \\\n", "pass\n"),
        (
            "if colab:\n    !pip install torch\n    %cd x\nelse:\n\t%cd y",
            "if colab:\n    pass\n    pass\nelse:\n\tpass",
        ),
        ("names = !ls *.png", f"names = {UNKNOWN}"),
        ("a, b = %env X", f"a, b = {UNKNOWN}"),
        ("a['='] = !ls", f"a['='] = {UNKNOWN}"),
        ("a=%env X", f"a={UNKNOWN}"),
        ("a = !ls \\\n  -l\nx = 1", f"a = {UNKNOWN}\n\nx = 1"),
        ("x = f(\n  1)[a] = !ls", f"x = f(\n  1)[a] = {UNKNOWN}"),
        ("%time\nx = 1;", "pass\nx = 1;"),
        ("%time x = (", "pass"),
        ("%timeit f(x)", "pass"),
        ("%time -p x = 1", "pass"),
        ("%time x = \\\n  1", "pass\n"),
        ("pip install -q torch\n", "\n"),
        ("ls -lh *.h5", ""),
    ],
)
def test_commands_become_nothing_or_something_unknown(cell: str, expected: str) -> None:
    assert text(cell) == expected


@pytest.mark.parametrize(
    "kept",
    [
        "y = (1\n% 2)",
        "y = 5 \\\n% 3",
        "s = 'it is %d' \\\n% 3",
        'print("%s"\n% "# (")',
        "s = '''\n%not magic\n!ls\nx?\n'''",
        's = """\n\'\'\'\n!ls\n"""',
        "s = 'a\\\n!ls'",
        "s = 'it\\'s'\nt = '?'",
        "# !ls '\"([{\nx = 1 # why?",
        "x = [\n  # it's (\n  1]",
        "r'\\\\'\nx = 1",
        "assert a != 3 == b <= c >= d\na %= 2",
        "f(a=3)[b]\nif (n := 3): pass",
        "f'{x!r:>{w}}'",
        "d = {'k': \"'\"}",
        "def f():\n    '''\n    %time\n    '''",
        "",
    ],
)
def test_python_stays_between_commands(kept: str) -> None:
    assert text(f"!ls\n{kept}\n%cd x") == f"pass\n{kept}\npass"


def test_a_timed_statement_runs_here_and_its_columns_are_told() -> None:
    assert rows("%time x = f(1)\nif x:\n    %time  y = x") == [
        Row("x = f(1)", 6),
        Row("if x:"),
        Row("    y = x", 7),
    ]


def test_a_cell_may_be_indented_as_a_whole() -> None:
    assert rows("    x = 1\n\n    if x:\n        !ls\n    %time y = 1") == [
        Row("x = 1", 4),
        Row(""),
        Row("if x:", 4),
        Row("    pass", 4),
        Row("y = 1", 10),
    ]
    assert rows("\tx = 1\n\t%time y = 1") == [Row("x = 1", 1), Row("y = 1", 7)]
    assert rows(" def f():\n    return 1\nf()") == [Row("def f():", 1), Row("   return 1", 1), Row("f()")]
    assert rows("    # x\n  x = 1") == [Row("  # x", 2), Row("x = 1", 2)]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("%%time\nx = 1", "\nx = 1"),
        ("\n  \n# how long?\n%%timeit -n 3\nx = 1", "\n  \n# how long?\n\nx = 1"),
        ("%%capture out\n%%time\n!ls\nx = 1", "\n\npass\nx = 1"),
        ("%%python3\nx = 1", "\nx = 1"),
        ("%%time", ""),
        ("%%time?", "pass"),
        ("x = 1\n%%time", "x = 1\npass"),
    ],
)
def test_cell_magics_around_python_lose_their_row_only(cell: str, expected: str) -> None:
    assert text(cell) == expected


@pytest.mark.parametrize(
    "cell",
    [
        "%%bash\nls",
        "%%writefile a.py\nx = 1",
        "%%html\n<p>",
        "%%cython\ncdef int x",
        "%%script false\nx = 1",
        "%%no-such-magic\nx = 1",
        "%%time\n%%bash\nls",
        "# below\n%%js\nlet x = 1",
        "%sql\nselect * from x",
        "%md\n# The model\nis small.",
    ],
)
def test_other_languages_are_none(cell: str) -> None:
    assert rows(cell) is None


def test_one_sign_is_another_language_only_where_the_rest_is_no_python() -> None:
    assert text("%sql select 1\nx = 1") == "pass\nx = 1"


@pytest.mark.parametrize(
    ("cell", "place"),
    [
        ("!ls\nprint 1", (2, 1)),
        ("!ls\nx = = 1", (2, 5)),
        ("    !ls\n    x = = 1", (2, 9)),
        ("%%time\n  x = = 1", (2, 7)),
        ("x = = 1\n%time x = 1", (1, 5)),
        ("!ls\nloss = ?", (2, 8)),
        ("x = f(?, 1)\n!ls", (1, 7)),
        ("x = (\n!ls", (1, 5)),
        ("x = 1; !ls", (1, 8)),
        ("\xa0", (1, 1)),
    ],
)
def test_a_broken_cell_has_its_own_rows_and_columns(cell: str, place: tuple[int, int]) -> None:
    with pytest.raises(Unreadable) as caught:
        rows(cell)
    assert (caught.value.row, caught.value.column) == place


class Plain(ast.NodeTransformer):
    """What IPython makes of commands, as we write it."""

    def visit_Expr(self, node):
        return ast.Pass() if asks(node.value) else node

    def visit_Assign(self, node):
        if asks(node.value):
            node.value = ast.parse(UNKNOWN, mode="eval").body
        return node


def asks(node):
    """Is this IPython's call of a command?"""
    return ast.unparse(node).startswith("get_ipython().")


def tree(source):
    """What a cell means; nothing if it is no Python."""
    try:
        return ast.dump(Plain().visit(ast.parse(source)))
    except SyntaxError:
        return ""


def theirs(cell):
    """What IPython makes of a cell; something that is no Python if it gives up."""
    try:
        return TransformerManager().transform_cell(cell)
    except SyntaxError:
        return "("


def ours(cell):
    """Our rows of a cell, joined; something that is no Python if they are none."""
    try:
        return "\n".join(row.text for row in rows(cell))
    except Unreadable:
        return "("


PIECES = r"""
x = 1
x = 'a' if y else "b"
x = 'it?' # why?
f(x, ';')
r'\\'
f'{x!r:>{w}}'
d = {'k': "'"}
print('''a''' '!ls')
a == b
a %= 2
assert a != 3
# !ls '
y = (1
% 2)
y = 5 \
% 3
z = [
]
s = '''
%not magic
'''
b'
@f
def g():
    return 1
if x:
    pass
    !ls
    %cd x
    '''doc
    '''
else:
for i in x: pass
%matplotlib inline
!ls -l 'x
!!ls
!pip install a \
  --upgrade b
!x # y \
?x
a = !ls
a, b = %env X
    a = !ls \
a[0] = !ls
a['='] = %run x
k = h(a=!ls)
""".splitlines()[1:]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=8))
@example(["y = (1", "% 2)", "%cd x"])
@example(["s = '''", "%not magic", "'''", "a = !ls"])
def test_a_cell_means_what_it_means_to_ipython(lines: list[str]) -> None:
    cell = "\n".join(lines)
    assume(not cell.startswith(" "))  # the versions of IPython differ in how they move a cell to the left
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert tree(ours(cell)) == tree(theirs(cell))
