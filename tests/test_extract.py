"""Extract: a pure function from one file's text to a summary that can be stored."""

from __future__ import annotations

import pickle
import textwrap

import pytest
from grammar import PROGRAMS
from hypothesis import HealthCheck, given, settings

from bnlint.source import summary as ir
from bnlint.source.extract import SHORT_TEXT, extract, is_relevant
from bnlint.source.read import Unreadable


def lowered(text: str) -> ir.Block:
    return extract(textwrap.dedent(text).encode(), "file.py").body


def value(text: str):
    """The expression in `y = …`."""
    (assign,) = lowered(f"y = {text}")
    return assign.value


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(PROGRAMS)
def test_every_program_is_summarised_purely_and_can_be_stored(text):
    data = text.encode()
    summary = extract(data, "file.py")
    assert extract(data, "file.py") == summary
    assert pickle.loads(pickle.dumps(summary)) == summary
    assert hash(summary) == hash(pickle.loads(pickle.dumps(summary)))


def test_the_file_name_is_the_only_other_input():
    data = b"import torch\nnet = torch.nn.BatchNorm1d(2)\n"
    assert extract(data, "a.py")._replace(filename="b.py") == extract(data, "b.py")


class TestWhatIsSkipped:
    @pytest.mark.parametrize(
        "text", [b"import torch", b"net.eval()", b"nn.ReLU()", b"from a import BatchNorm2d"]
    )
    def test_what_mentions_torch_or_a_mode_is_relevant(self, text):
        assert is_relevant(text)

    @pytest.mark.parametrize("text", [b"", b"x = 1\n", b"ann.fit(x)", b"def evaluate(): pass"])
    def test_other_files_say_nothing_of_their_own(self, text):
        assert not is_relevant(text)

    def test_a_file_has_to_be_python(self):
        with pytest.raises(Unreadable, match="not valid Python"):
            extract(b"x = = 1\n", "file.py")

    def test_prose_is_forgotten(self):
        assert lowered('"""Prose."""\n"more"\n...\n') == ()
        assert value(f"'{'x' * (SHORT_TEXT + 1)}'") == ir.Opaque()
        assert value(f"'{'x' * SHORT_TEXT}'") == ir.Lit("x" * SHORT_TEXT)


class TestSpans:
    def test_rows_count_from_one_and_columns_from_zero_and_ends_are_exclusive(self):
        (assign,) = lowered("y = f(a, 12)")
        assert assign.span == ir.Span(1, 0, 1, 12)
        assert assign.value.span == ir.Span(1, 4, 1, 12)
        assert [arg.span for arg in assign.value.args] == [ir.Span(1, 6, 1, 7), ir.Span(1, 9, 1, 11)]

    def test_a_definition_is_its_first_line(self):
        function, klass = lowered("def forward(self): pass\nclass Net: pass\n")
        assert function.span == ir.Span(1, 0, 1, 11)
        assert klass.span == ir.Span(2, 0, 2, 9)

    def test_a_loop_is_its_head(self):
        loop, wait = lowered("for x in loader:\n    pass\nwhile True:\n    pass\n")
        assert loop.span == ir.Span(1, 0, 1, 15)
        assert wait.span == ir.Span(3, 0, 3, 10)


class TestExpressions:
    def test_negative_numbers_are_constants(self):
        assert value("-1e-5") == ir.Lit(-1e-5, ir.Span(1, 4, 1, 9))

    def test_a_chain_of_comparisons_is_all_of_them(self):
        a, b, c = (ir.Name(n) for n in "abc")
        assert value("a < b <= c") == ir.Logic("and", (ir.Compare("<", a, b), ir.Compare("<=", b, c)))

    def test_arguments_keep_how_they_are_given(self):
        call = value("f(a, *b, c=1, **d)")
        assert [arg.name for arg in call.args] == [None, "*", "c", "**"]

    def test_only_calls_in_formatted_text_matter(self):
        assert value("f'{a} {g()} {b.c}'").parts == (value("g()")._replace(span=ir.Span(1, 11, 1, 14)),)
        assert value("f'{a}'") == ir.Opaque()

    def test_await_is_looked_through(self):
        (function,) = lowered("async def main():\n    return await f()\n")
        assert isinstance(function.body[0].value, ir.Call)

    @pytest.mark.parametrize(
        ("text", "kind"),
        [("[a for a in b]", "list"), ("{a for a in b}", "set"), ("(a for a in b)", "generator")],
    )
    def test_comprehensions(self, text, kind):
        found = value(text)
        assert (found.kind, found.key, found.element) == (kind, None, ir.Name("a"))

    def test_dict_comprehensions_have_a_key(self):
        assert value("{a: 1 for a in b if c}").key == ir.Name("a")
        assert value("{a: 1 for a in b if c}").loops == (
            ir.Each(ir.Name("a"), ir.Name("b"), (ir.Name("c"),)),
        )


class TestStatements:
    def test_match_is_a_chain_of_ifs(self):
        (first,) = lowered(
            "match a:\n    case 'x':\n        b()\n    case [c]:\n        d()\n    case _:\n        e()\n"
        )
        assert first.test == ir.Compare("==", ir.Name("a"), ir.Lit("x"))
        (second,) = first.other
        assert second.test == ir.Opaque()
        assert second.other[0].value.func == ir.Name("e")

    def test_imports(self):
        text = "import a.b\nimport a.b as c\nfrom a import b as d, e\nfrom ..a import *\nfrom . import f\n"
        assert lowered(text) == (
            ir.Import("a", "a.b", None, 0),
            ir.Import("c", "a.b", None, 0),
            ir.Import("d", "a", "b", 0),
            ir.Import("e", "a", "e", 0),
            ir.Import("*", "a", "*", 2),
            ir.Import("f", "", "f", 1),
        )

    def test_parameters(self):
        (function,) = lowered("def f(a, /, b: int = 1, *c, d, e=2, **g): pass\n")
        assert [(p.name, p.kind, p.default and p.default.value) for p in function.params] == [
            ("a", "position", None),
            ("b", "both", 1),
            ("c", "*", None),
            ("d", "keyword", None),
            ("e", "keyword", 2),
            ("g", "**", None),
        ]
        assert function.params[1].annotation == ir.Name("int")

    def test_generators_are_marked_and_the_functions_around_them_are_not(self):
        (outer,) = lowered("def f():\n    def g():\n        yield 1\n    return g\n")
        assert not outer.generator
        assert outer.body[0].generator

    def test_exception_groups_and_async(self):
        (function,) = lowered("async def f():\n    async with a as b:\n        async for c in d: e()\n")
        assert isinstance(function.body[0], ir.With)
        assert isinstance(function.body[0].body[0], ir.For)


class TestWhatAFunctionIsAbout:
    def test_words_are_those_of_its_rows(self):
        train, other = lowered("def a(net):\n    net.train()\ndef b():\n    return 1\n")
        assert "mode" in train.words
        assert not other.words

    def test_calls_include_those_of_inner_functions(self):
        (function,) = lowered("def f():\n    g()\n    def h():\n        a.b.k()\n")
        assert function.calls == {"g", "k"}
        assert function.body[1].calls == {"k"}

    @pytest.mark.parametrize("call", ["model(x)", "self.net(x)", "p(x)", "netG(x)"])
    def test_calls_of_models_and_of_parameters_are_forwards(self, call):
        (function,) = lowered(f"def f(self, p, x):\n    return {call}\n")
        assert "forward" in function.words

    def test_other_calls_are_none(self):
        (function,) = lowered("def f(self, p):\n    return other(p)\n")
        assert "forward" not in function.words
