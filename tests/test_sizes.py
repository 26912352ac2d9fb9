"""Sizes: their normal form, and that two of them are only said to differ where no numbers make them equal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnlint.source import sizes
from bnlint.source.sizes import Floor, Size, atom, differ, divided, minus, number, plus, quotient, times
from bnlint.source.values import Const, Sym

C, D = atom(1, "c"), atom(2, "d")
FOUR = number(4)


def value(size: Size, known: int) -> int:
    """What a size is where its only symbol is known."""
    total = 0
    for product, factor in size.terms:
        term = factor
        for one, power in product:
            each = value(one.key.size, known) // one.key.by if isinstance(one.key, Floor) else known
            term *= each**power
        total += term
    return total


def grown(inner):
    small = st.integers(1, 4)
    return st.one_of(
        *(st.builds(act, inner, st.one_of(inner, small.map(number))) for act in (plus, minus, times)),
        st.builds(divided, inner, small),
    )


SIZES = st.recursive(st.one_of(st.just(C), st.integers(1, 5).map(number)), grown, max_leaves=4)


@given(SIZES, SIZES)
def test_sizes_that_differ_are_never_equal(one, other):
    if differ(one, other):
        pairs = [(value(one, known), value(other, known)) for known in range(40)]
        assert all(a != b for a, b in pairs if a > 0 and b > 0)


@given(SIZES, SIZES, SIZES)
def test_equal_sums_have_one_form(one, other, third):
    assert plus(one, other) == plus(other, one)
    assert times(one, other) == times(other, one)
    assert times(one, plus(other, third)) == plus(times(one, other), times(one, third))
    assert minus(plus(one, other), other) == one


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (number(3), number(4), True),
        (number(4), FOUR, False),
        (C, times(C, FOUR), True),
        (C, times(D, FOUR), False),
        (plus(number(64), C), number(64), False),  # nothing says that it is not 0
        (plus(number(64), times(C, D)), number(64), False),
        (plus(number(64), C), number(60), False),  # nor that it is not below 0
        (plus(C, number(1)), C, True),
        (plus(times(C, D), number(1)), times(C, D), True),
        (times(C, FOUR), plus(C, number(1)), True),
        (times(C, C), C, False),
        (C, divided(C, 2), True),
        (divided(C, 2), divided(C, 3), False),
        (times(divided(C, 2), number(2)), C, False),
        (C, number(64), False),
    ],
)
def test_differences(one, other, expected):
    assert differ(one, other) is expected
    assert differ(other, one) is expected


def test_quotients():
    assert divided(times(C, FOUR), 4) == C
    assert divided(number(9), 2) == FOUR
    assert quotient(times(C, FOUR), 2) == times(C, number(2))
    assert quotient(C, 2) is None
    assert quotient(C, 0) is None


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (number(0), "0"),
        (times(C, FOUR), "4 * c"),
        (plus(times(C, D), number(2)), "c * d + 2"),
        (minus(C, number(2)), "c - 2"),
        (times(divided(C, 2), number(3)), "3 * (c // 2)"),
        (times(C, number(-1)), "-c"),
        (atom(3), "?"),
    ],
)
def test_are_written_as_a_program_would(size, text):
    assert str(size) == text


def test_what_is_no_size():
    assert sizes.size_of(Const(value=True)) is None
    assert sizes.size_of(Const(1.5)) is None
    assert sizes.size_of(Const("8")) is None
    assert sizes.size_of(None) is None
    assert sizes.size_of(Const(8.0)) == number(8)


def test_unknown_numbers_are_computed_with():
    planes = Sym(1, "c")
    assert sizes.size_of(Sym(9, made=("*", planes, Const(4)))) == times(C, FOUR)
    assert sizes.size_of(Sym(9, made=("//", Sym(8, made=("*", planes, Const(4))), Const(2)))) == plus(C, C)
    assert sizes.size_of(Sym(9, "c", made=("*", planes, Const(0.5)))) == atom(9)
    assert sizes.size_of(Sym(9, made=("/", planes, Const(2)))) == atom(9)


def test_what_is_too_involved_is_a_number_of_its_own():
    power = Sym(1, "c")
    for key in range(10, 20):
        power = Sym(key, made=("*", power, Sym(1, "c")))
    assert all(sum(times for _, times in product) < 5 for product, _ in sizes.size_of(power).terms)
    deep = Sym(1, "c")
    for key in range(10, 100):
        deep = Sym(key, made=("+", deep, Const(1)))
    assert sizes.size_of(deep) is not None
