"""The interpreter: what programs compute, as far as it can be known."""

from __future__ import annotations

import pytest
from programs import Program

from bnlint.source.interpret import OutOfFuel
from bnlint.source.operators import MOST_COPIES


@pytest.fixture
def run(tmp_path):
    """Run a file, and others beside it, and look at its names."""
    return lambda text, **files: Program(
        tmp_path, {"main.py": text, **{f"{name}.py": other for name, other in files.items()}}
    )


CONSTANTS = {
    "arithmetic": ("x = 2 * 3 + 10 // 4 - 2 ** 3 % 5", 5),
    "text": ("x = 'a' + 'b'.upper()", "aB"),
    "chained": ("a = b = 3\nx = a * b", 9),
    "unpacked": ("a, (b, c) = 1, [2, 3]\nx = [c, b, a]", [3, 2, 1]),
    "updated": ("x = 1\nx += 4\nx *= 2", 10),
    "walrus": ("if (n := 4) > 3:\n    x = n", 4),
    "choice": ("x = 1 if 'a' in 'abc' else 2", 1),
    "or": ("x = None or 8", 8),
    "and": ("x = 3 and 0", 0),
    "comparison": ("x = 1 < 2 <= 2 != 3", True),
    "negation": ("x = not []", True),
    "dict": ("d = {'a': {'b': 7}}\nx = d['a']['b']", 7),
    "dict entry set later": ("d = {}\nd['a'] = 7\nx = d['a']", 7),
    "dict default": ("x = dict(a=1).get('b', 6)", 6),
    "dict merged": ("x = {**{'a': 1, 'b': 2}, 'b': 3}", {"a": 1, "b": 3}),
    "dict updated": ("x = {'a': 1}\nx.update(b=2)", {"a": 1, "b": 2}),
    "list index": ("x = [1, 2, 3][-1]", 3),
    "list slice": ("x = [1, 2, 3][:2]", [1, 2]),
    "list written": ("x = [1, 2]\nx[0] = 5", [5, 2]),
    "list grown": ("x = [1]\nx.append(2)\nx.extend([3])\nx += (4,)\nx.insert(0, 0)", [0, 1, 2, 3, 4]),
    "list popped": ("y = [1, 2]\nx = y.pop()", 2),
    "starred": ("a = [2, 3]\nx = [1, *a]", [1, 2, 3]),
    "length": ("x = len([1, 2, 3])", 3),
    "class attribute": ("class C:\n    size = 4\nx = C.size", 4),
    "inherited attribute": ("class A:\n    size = 4\nclass B(A): pass\nx = B().size", 4),
    "dataclass": ("@dataclass\nclass C:\n    size: int = 4\nx = C().size", 4),
    "dataclass argument": (
        "@dataclass\nclass C:\n    a: int = 4\n    b: int = 5\nx = C(1, b=2)\nx = [x.a, x.b]",
        [1, 2],
    ),
    "keyword default": ("def f(a, *, size=4):\n    return size\nx = f(0)", 4),
    "given by keyword": ("def f(a, size=4):\n    return [a, size]\nx = f(size=2, a=1)", [1, 2]),
    "given by position": ("def f(a, /, size=4):\n    return [a, size]\nx = f(1, 2)", [1, 2]),
    "variadic": ("def f(*a, **k):\n    return [a, k]\nx = f(1, 2, b=3)", [(1, 2), {"b": 3}]),
    "passed on": (
        "def g(a, b=0):\n    return a + b\ndef f(*a, **k):\n    return g(*a, **k)\nx = f(1, b=2)",
        3,
    ),
    "default of where it is defined": ("n = 1\ndef f(a=n):\n    return a\nx = f()", 1),
    "global": (
        "n = 1\ndef f(net):\n    global n\n    n = 2\n    net.eval()\nf(a)\ndef g():\n    return n\nx = g()",
        2,
    ),
    "closure": ("def f(a):\n    def g(b):\n        return a * b\n    return g\nx = f(2)(3)", 6),
    "closure over a loop": ("def f():\n    c = 5\n    return lambda: c\nx = f()()", 5),
    "lambda": ("f = lambda a, b=2: a + b\nx = f(1)", 3),
    "partial": (
        "from functools import partial\ndef f(a, b, c=0):\n    return [a, b, c]\nx = partial(f, 1, c=3)(2)",
        [1, 2, 3],
    ),
    "partial of partial": (
        "import functools\ndef f(a, b):\n    return a - b\np = functools.partial(functools.partial(f, 5), 3)\nx = p()",
        2,
    ),
    "static method": ("class C:\n    @staticmethod\n    def f(a):\n        return a\nx = C().f(2)", 2),
    "class method": (
        "class C:\n    n = 3\n    @classmethod\n    def f(cls):\n        return cls.n\nx = C.f()",
        3,
    ),
    "property": (
        "class C:\n    n = 3\n    @property\n    def f(self):\n        return self.n + 1\nx = C().f",
        4,
    ),
    "attribute": ("class C:\n    def __init__(self, n):\n        self.n = n\nx = C(4).n", 4),
    "getattr": ("class C:\n    n = 3\nx = getattr(C, 'n')", 3),
    "setattr": ("class C: pass\nc = C()\nsetattr(c, 'n', 3)\nx = c.n", 3),
    "recursion ends": ("def f(n):\n    return f(n - 1)\nx = f(3)", "<unknown>"),
    "mutual recursion ends": (
        "def f(n):\n    return g(n)\ndef g(n):\n    return f(n)\nx = f(3)",
        "<unknown>",
    ),
    "division by zero": ("x = 1 / 0", "<unknown>"),
    "huge power": ("x = 9 ** 9 ** 9", "<unknown>"),
    "huge text": ("x = 'a' * 10 ** 9", "<unknown>"),
    "nothing returned": ("def f(): pass\nx = f()", None),
    "generator": ("def f():\n    yield 1\n    yield 2\nx = f()", [1, 2, "<more>"]),
    "popped from a dict": (
        "d = {'a': 1, 'b': 2}\ny = d.pop('a', 0)\nx = [y, d.pop('a', 0), 'a' in d]",
        [1, 0, False],
    ),
    "popped once in a condition": ("d = {'a': 1}\ny = d.pop('a', 0) or 5\nx = y", 1),
    "set where it is missing": (
        "d = {'a': 1}\nd.setdefault('a', 2)\nd.setdefault('b', 3)\nx = d",
        {"a": 1, "b": 3},
    ),
    "words": ("x = 'batch_norm-2d'.replace('_', '').split('-')[0].upper()", "BATCHNORM"),
    "parts of a partial": (
        "from functools import partial\ndef f(): pass\np = partial(f, eps=2)\nx = [p.func.__name__, p.keywords['eps']]",
        ["f", 2],
    ),
    "name of a class": (
        "from torch import nn\nclass C: pass\nx = [C.__name__, nn.BatchNorm2d.__name__]",
        ["C", "BatchNorm2d"],
    ),
    "repeated": ("from itertools import repeat\nx = list(repeat(3, 2))", [3, 3]),
    "comprehension over many": ("x = 7 in [n for n in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]]", True),
    "class among classes": (
        "from torch import nn\nclass A: pass\nclass B: pass\nx = [A in {A, nn.ReLU}, B in (A, nn.ReLU), nn.ReLU in [A, nn.ReLU]]",
        [True, False, True],
    ),
    "dataclass default": (
        "from dataclasses import dataclass, field\n@dataclass\nclass C:\n    a: int = field(default=4)\nx = C().a",
        4,
    ),
    "dataclass replaced": (
        "from dataclasses import dataclass, replace\n@dataclass\nclass C:\n    a: int = 4\n    b: int = 5\nc = replace(C(b=6), a=1)\nx = [c.a, c.b]",
        [1, 6],
    ),
    "dataclass finished": (
        "@dataclass\nclass C:\n    a: str = ''\n    def __post_init__(self):\n        if not self.a:\n            self.a = 'b'\nx = C().a",
        "b",
    ),
}

INSTANCES = {
    "constant": ("isinstance('a', str)", True),
    "flag": ("isinstance(True, int)", True),
    "number": ("isinstance(3, (str, list))", False),
    "nothing": ("isinstance(None, str)", False),
    "iterable": ("isinstance([1], collections.abc.Iterable)", True),
    "not iterable": ("isinstance(7, collections.abc.Iterable)", False),
    "list": ("isinstance([1], (str, list))", True),
    "class": ("isinstance(nn.ReLU, type)", True),
    "class is no text": ("isinstance(Own, str)", False),
    "partial": ("isinstance(functools.partial(nn.ReLU), functools.partial)", True),
    "class is no partial": ("isinstance(nn.ReLU, functools.partial)", False),
    "function": ("isinstance(make, types.FunctionType)", True),
    "class is no function": ("isinstance(Own, types.FunctionType)", False),
    "module": ("isinstance(Own(), nn.Module)", True),
    "own class": ("isinstance(Other(), Own)", True),
    "another own class": ("isinstance(Own(), Other)", False),
    "a layer": ("isinstance(nn.ReLU(), nn.Module)", True),
    "another layer": ("isinstance(nn.ReLU(), nn.Linear)", False),
    "a base of torch": ("isinstance(nn.ReLU(), nn.modules.batchnorm._BatchNorm)", "<unknown>"),
    "from elsewhere": ("isinstance(Foreign(), Own)", "<unknown>"),
    "anything": ("isinstance(anything, str)", "<unknown>"),
}
"""Asked with a class of the project and one that inherits from it."""


@pytest.mark.parametrize(("text", "expected"), INSTANCES.values(), ids=INSTANCES)
def test_instances(run, text, expected):
    head = (
        "import collections.abc, functools, types\nfrom elsewhere import Base\nfrom torch import nn\n"
        "class Own(nn.Module): pass\nclass Other(Own): pass\nclass Foreign(Base): pass\ndef make(): pass\n"
    )
    assert run(f"{head}x = {text}")["x"] == expected


@pytest.mark.parametrize(("text", "expected"), CONSTANTS.values(), ids=CONSTANTS)
def test_constants(run, text, expected):
    assert run(text)["x"] == expected


class TestCommandLine:
    def test_an_option_is_unknown_and_has_a_default(self, run):
        program = run("""
            import argparse
            parser = argparse.ArgumentParser()
            group = parser.add_argument_group("sizes")
            group.add_argument("-b", "--batch-size", type=int, default=4)
            parser.add_argument("--lr", dest="rate", default=0.1)
            parser.add_argument("--flag", action="store_true")
            parser.add_argument("--out")
            args = parser.parse_args()
            size, rate, flag, out = args.batch_size, args.rate, args.flag, args.out
        """)
        assert program["size"] == ("default", 4)
        assert program["rate"] == ("default", 0.1)
        assert program["flag"] == ("default", False)
        assert program["out"] == "<unknown>"

    def test_the_option_names_its_place(self, run):
        option = run(
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('--n', default=4)\nx = p.parse_args().n"
        ).value("x")
        assert (option.default.name, option.default.place.span.row) == ("--n", 3)

    def test_through_a_function_and_arithmetic(self, run):
        program = run("""
            from argparse import ArgumentParser
            def options():
                parser = ArgumentParser()
                parser.add_argument("--n", default=8)
                return parser.parse_args()
            def main(args):
                return args.n // 4
            x = main(options())
        """)
        assert program["x"] == ("default", 2)


class TestBranches:
    def test_an_unknown_condition_leaves_both(self, run):
        assert run("def f(c):\n    if c:\n        return 1\n    return 2\nx = f(c)")["x"] == {1, 2}

    def test_a_known_one_leaves_one(self, run):
        assert run("def f(c):\n    if c:\n        return 1\n    return 2\nx = f(0)")["x"] == 2

    def test_the_same_condition_is_the_same_again(self, run):
        program = run("""
            a = b = 0
            if c:
                a = 1
            if c:
                b = a
            else:
                b = 5
        """)
        assert program["b"] == {1, 5}

    def test_one_value_equals_one_constant(self, run):
        program = run("""
            y = 0
            if kind == "a":
                z = 1
            elif kind == "b":
                z = 2
            if kind == "a":
                y = z
        """)
        assert program["y"] == {0, 1}

    def test_a_way_that_raises_is_none(self, run):
        assert run("if c:\n    x = 1\nelse:\n    raise ValueError")["x"] == 1

    def test_an_assertion_holds_from_there_on(self, run):
        assert run("a = 1 if c else 2\nassert c\ndef f():\n    return a\nx = f()")["x"] == 1

    @pytest.mark.parametrize(("kind", "x"), [("'a'", 1), ("'b'", 2), ("'z'", 3)])
    def test_match(self, run, kind, x):
        text = f"match {kind}:\n    case 'a':\n        x = 1\n    case 'b':\n        x = 2\n    case _:\n        x = 3\n"
        assert run(text)["x"] == x

    def test_what_is_imported_may_be_false(self, run):
        assert run("from config import DEBUG\nx = 1 if DEBUG else 2")["x"] == {1, 2}

    def test_try(self, run):
        assert run("try:\n    x = 1\nexcept ImportError:\n    x = 2")["x"] == {1, 2}


class TestLoops:
    def test_every_element_of_what_is_known(self, run):
        assert run("x = []\nfor a, b in zip([1, 2], (3, 4)):\n    x.append(a * b)")["x"] == [3, 8]
        assert run("x = []\nfor i, a in enumerate(['p', 'q']):\n    x.append(a)")["x"] == ["p", "q"]
        assert run("x = []\nfor k, v in {'a': 1, 'b': 2}.items():\n    x += [k, v]")["x"] == ["a", 1, "b", 2]

    def test_break_and_continue(self, run):
        assert run("x = []\nfor i in [1, 2, 3]:\n    if i == 2:\n        break\n    x.append(i)")["x"] == [1]
        assert run("x = []\nfor i in [1, 2, 3]:\n    if i == 2:\n        continue\n    x.append(i)")["x"] == [
            1,
            3,
        ]

    def test_a_break_that_may_be_leaves_what_was_before_the_turn(self, run):
        assert run("x = 0\nfor i in [1]:\n    if c:\n        break\n    x = i")["x"] == {0, 1}

    def test_else_runs_where_nothing_broke(self, run):
        assert run("x = 0\nfor i in [1]:\n    pass\nelse:\n    x = 1")["x"] == 1
        assert run("x = 0\nfor i in [1]:\n    break\nelse:\n    x = 1")["x"] == 0
        assert run("x = 0\nfor i in [1]:\n    if c:\n        break\nelse:\n    x = 1")["x"] == {0, 1}

    def test_what_is_returned_from_a_loop(self, run):
        assert run("def f():\n    for i in [1, 2]:\n        return i\nx = f()")["x"] == 1
        assert run("def f():\n    for i in data:\n        return 1\nx = f()")["x"] == {1, None}

    def test_a_while_that_never_runs(self, run):
        assert run("x = 0\nwhile False:\n    x = 1")["x"] == 0


class TestLists:
    @pytest.mark.parametrize(("times", "length"), [(0, 0), (1, 1), (2, 2), (1000, MOST_COPIES)])
    def test_repeated(self, run, times, length):
        program = run(f"from torch import nn\nx = [nn.ReLU()] * {times}")
        held = program.run.items(program.value("x")).held
        assert len(held) == length
        assert len({id(h.value) for h in held}) <= 1

    def test_repeated_an_unknown_number_of_times(self, run):
        assert run("x = [1] * n")["x"] == [1, 1, "<more>"]

    def test_comprehensions(self, run):
        assert run("x = [a + b for a in [1, 2] for b in [10, 20] if a != 2]")["x"] == [11, 21]
        assert run("x = {k: v * 2 for k, v in {'a': 1}.items()}")["x"] == {"a": 2}
        assert run("x = [a for a in data]")["x"][-1] == "<more>"

    def test_the_condition_of_a_comprehension_guards_its_items(self, run):
        program = run("x = [a for a in [1, 2] if flag]")
        items = program.run.items(program.value("x"))
        assert [(len(h.guards), h.value.value) for h in items.held] == [(1, 1), (1, 2)]
        assert items.held[0].guards == items.held[1].guards

    def test_items_appended_under_a_condition_keep_it(self, run):
        program = run("x = [1]\nif flag:\n    x.append(2)\nelse:\n    x.append(3)")
        (_, two, three) = program.run.items(program.value("x")).held
        ((key, way),) = two.guards
        assert three.guards == {(key, not way)}


class TestClasses:
    def test_super_follows_the_inheritance(self, run):
        program = run("""
            class A:
                def __init__(self, n=1):
                    self.n = n
                def size(self):
                    return self.n
            class B(A):
                def __init__(self):
                    super().__init__(n=4)
                def size(self):
                    return super().size() + 1
            class C(B):
                def size(self):
                    return super(C, self).size() * 10
            x = C().size()
        """)
        assert program["x"] == 50

    def test_a_method_that_its_subclass_defines(self, run):
        program = run("""
            class A:
                def build(self):
                    return self.make()
                def make(self):
                    raise NotImplementedError
            class B(A):
                def make(self):
                    return 7
            x = B().build()
        """)
        assert program["x"] == 7

    def test_instances_have_attributes_of_their_own(self, run):
        text = "class A:\n    def __init__(self, n):\n        self.n = n\na, b = A(1), A(2)\nx = [a.n, b.n]"
        assert run(text)["x"] == [1, 2]

    def test_inheriting_from_itself_ends(self, run):
        assert run("class A(A): pass\nx = A().n\ny = 1")["y"] == 1


HEADER = "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x): return x\nnet = Net()\n"


class TestModes:
    def test_a_new_model_is_in_train_mode(self, run):
        assert run(HEADER + "net(x)").modes(5) == {"train"}

    @pytest.mark.parametrize(
        ("call", "modes"),
        [
            ("net.eval()", {"eval"}),
            ("net.train(False)", {"eval"}),
            ("net.train(mode=False)", {"eval"}),
            ("net.train(flag)", {"unknown"}),
            ("net.requires_grad_(False)", {"train"}),
            ("net.eval().train()", {"train"}),
            ("net = net.eval()", {"eval"}),
            ("freeze_everything(net)", {"unknown"}),
        ],
    )
    def test_calls(self, run, call, modes):
        assert run(f"{HEADER}{call}\nnet(x)").modes(6) == modes

    def test_what_a_wrapper_is_told_the_model_is_told(self, run):
        assert run(HEADER + "wrapped = nn.DataParallel(net)\nwrapped.eval()\nnet(x)").modes(7) == {"eval"}

    def test_what_contains_it_reaches_it(self, run):
        text = (
            HEADER
            + "class Big(nn.Module):\n    def __init__(self):\n        self.net = net\nbig = Big()\nbig.net\nbig.eval()\nnet(x)"
        )
        assert run(text).modes(11) == {"eval"}

    def test_a_copy_starts_as_the_original_and_goes_its_own_way(self, run):
        program = run(
            HEADER
            + "import copy\nnet.eval()\nother = copy.deepcopy(net)\nother(x)\nnet.train()\nother(x)\nnet(x)"
        )
        assert [program.modes(row) for row in (8, 10, 11)] == [{"eval"}, {"eval"}, {"train"}]

    def test_a_context_manager_of_the_project(self, run):
        program = run(
            HEADER
            + "from contextlib import contextmanager\n@contextmanager\ndef evaluating(net):\n    net.eval()\n    yield\n    net.train()\n"
            + "with evaluating(net):\n    net(x)\nnet(x)\n"
        )
        assert [program.modes(row) for row in (12, 13)] == [{"eval"}, {"train"}]

    def test_a_context_manager_class_of_the_project(self, run):
        program = run(
            HEADER
            + "class Evaluating:\n    def __init__(self, net):\n        self.net = net\n"
            + "    def __enter__(self):\n        self.net.eval()\n    def __exit__(self, *a):\n        self.net.train()\n"
            + "with Evaluating(net):\n    net(x)\nnet(x)\n"
        )
        assert [program.modes(row) for row in (13, 14)] == [{"eval"}, {"train"}]

    def test_a_helper_switches_what_it_is_given(self, run):
        program = run(
            HEADER + "def validate(model):\n    model.eval()\n    model(x)\nvalidate(net)\nnet(x)\n"
        )
        assert [program.modes(row) for row in (7, 9)] == [{"eval"}, {"eval"}]

    def test_either_of_two_models_leaves_the_other_open(self, run):
        program = run(HEADER + "other = Net()\nsome = net if flag else other\nsome.eval()\nsome(x)\nnet(x)")
        assert program.modes(9) == {"train", "eval"}

    def test_one_of_two_kinds_is_switched_whichever_it_is(self, run):
        program = run(
            HEADER + "class Other(Net): pass\nsome = Net() if flag else Other()\nsome.eval()\nsome(x)"
        )
        assert program.modes(8) == {"eval"}


class TestFuel:
    def test_a_program_that_takes_too_long_stops(self, run):
        program = run("def f(n):\n    a = n\n    b = a\n    return b\nx = 1\n")
        program.run.fuel = 2
        with pytest.raises(OutOfFuel):
            program.run.run(program.value("f"), _no_args(), None, None)

    def test_a_file_that_takes_too_long_keeps_what_was_reached_and_loses_no_other(self, run):
        deep = "x = 1\nfor a in range(8):\n    for b in range(8):\n        for c in range(8):\n"
        deep += "".join(f"            v{n} = {n}\n" for n in range(6000)) + "y = 2\n"
        program = run("from slow import x, y\nz = 3", slow=deep)
        assert (program["x"], program["y"], program["z"]) == (1, "<unknown>", 3)


def _no_args():
    from bnlint.source.values import Args

    return Args()
