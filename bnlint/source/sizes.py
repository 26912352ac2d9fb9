"""Sizes of tensors: whole numbers, and sums of products of numbers that are not known, in normal form.

`planes * 4` and `2 * planes + planes * 2` are one size. What is not known is an atom: an argument of a
class, or a quotient that is not exact. Two sizes certainly differ where their difference can never be 0.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from typing import Final, NamedTuple, TypeAlias

from bnlint.source.values import Const, Sym, Value

MOST_TERMS: Final = 6
HIGHEST_DEGREE: Final = 4
"""Sums and products beyond these are not followed."""
DEEPEST: Final = 30
"""Operators within operators that are followed."""


@dataclass(frozen=True, slots=True)
class Atom:
    """A number that is not known: the same key is the same number."""

    key: Hashable
    name: str = field(default="", compare=False)


class Floor(NamedTuple):
    """The key of `size // by`, where that does not come out even."""

    size: Size
    by: int


Product: TypeAlias = frozenset[tuple[Atom, int]]
"""Atoms and their powers; the empty product is 1."""
ONE: Final[Product] = frozenset()


class Size(NamedTuple):
    """The products of a sum, and what each is multiplied by; none of the factors is 0."""

    terms: frozenset[tuple[Product, int]]

    @property
    def number(self) -> int | None:
        """The size as a number; None where it holds an atom."""
        if not self.terms:
            return 0
        ((product, factor), *more) = self.terms
        return factor if not more and product == ONE else None

    @property
    def atom(self) -> Atom | None:
        """The only atom of a size that is nothing else."""
        if len(self.terms) != 1:
            return None
        ((product, factor),) = self.terms
        powers = list(product)
        return powers[0][0] if factor == 1 and len(powers) == 1 and powers[0][1] == 1 else None

    def __str__(self) -> str:
        ordered = sorted(self.terms, key=lambda term: (term[0] == ONE, spelled(term[0])))
        text = " + ".join(spelled(product, factor) for product, factor in ordered) or "0"
        return text.replace("+ -", "- ")


def size_of(value: Value | None, depth: int = 0) -> Size | None:
    """A value as a size; None where it is no number, or of no known identity."""
    match value:
        case Const(value=bool()):
            return None
        case Const(value=int() as whole):
            return number(whole)
        case Const(value=float() as real) if real.is_integer():
            return number(int(real))
        case Sym():
            if value.size is None:
                value.size = size_of_symbol(value, depth)
            found: Size = value.size
            return found
    return None


def size_of_symbol(symbol: Sym, depth: int) -> Size:
    """What a number is that was computed from others; itself, where that cannot be said."""
    if symbol.made is not None and depth < DEEPEST:
        op, left, right = symbol.made
        one, other = size_of(left, depth + 1), size_of(right, depth + 1)
        found = None if one is None or other is None else computed(op, one, other)
        if found is not None:
            return found
    return atom(symbol.key, symbol.name)


def number(value: int) -> Size:
    return made({ONE: value})


def atom(key: Hashable, name: str = "") -> Size:
    return made({frozenset({(Atom(key, name), 1)}): 1})


def made(terms: dict[Product, int]) -> Size:
    return Size(frozenset((product, factor) for product, factor in terms.items() if factor))


def plus(one: Size, other: Size) -> Size:
    terms = dict(one.terms)
    for product, factor in other.terms:
        terms[product] = terms.get(product, 0) + factor
    return made(terms)


def minus(one: Size, other: Size) -> Size:
    return plus(one, scaled(other, -1))


def scaled(size: Size, by: int) -> Size:
    return made({product: factor * by for product, factor in size.terms})


def times(one: Size, other: Size) -> Size:
    for left, right in ((one, other), (other, one)):
        by = left.number
        if by is not None:
            return scaled(right, by)
    terms: dict[Product, int] = {}
    for left_product, a in one.terms:
        for right_product, b in other.terms:
            powers = dict(left_product)
            for each, power in right_product:
                powers[each] = powers.get(each, 0) + power
            product = frozenset(powers.items())
            terms[product] = terms.get(product, 0) + a * b
    return made(terms)


def divided(one: Size, by: int) -> Size:
    """`one // by`, for a size that is not negative and a positive number."""
    value = one.number
    if value is not None:
        return number(value // by)
    if all(factor % by == 0 for _, factor in one.terms):
        return made({product: factor // by for product, factor in one.terms})
    return atom(Floor(one, by), f"{one} // {by}")


def quotient(one: Size, by: int) -> Size | None:
    """`one / by` where that certainly is a whole number; None where it need not be."""
    found = divided(one, by) if by > 0 else None
    return found if found is not None and times(found, number(by)) == one else None


def computed(op: str, one: Size, other: Size) -> Size | None:
    """The result of an operator; None where it is no size, or too involved to be followed."""
    by = other.number
    if op == "+":
        found = plus(one, other)
    elif op == "-":
        found = minus(one, other)
    elif op == "*":
        found = times(one, other)
    elif op == "//" and by is not None and by > 0:
        found = divided(one, by)
    else:
        return None
    if op == "*" and any(sum(power for _, power in product) > HIGHEST_DEGREE for product, _ in found.terms):
        return None
    return found if len(found.terms) <= MOST_TERMS else None


def spelled(product: Product, factor: int = 1) -> str:
    """A product as it would be written."""
    names = sorted(name for one, power in product for name in [one.name or "?"] * power)
    names = [f"({name})" if " " in name and len(names) + (factor != 1) > 1 else name for name in names]
    if factor == -1 and names:
        return "-" + " * ".join(names)
    return " * ".join(names if factor == 1 and names else [str(factor), *names])


# differences


def differ(one: Size, other: Size) -> bool:
    """Whether two sizes that tensors and layers have can never be equal.

    Their difference is a number, or depends on a single one that is not known and is 1 or more: one of
    the sizes is nothing but a multiple of it, and no layer has 0 channels.
    """
    difference = minus(one, other)
    if difference.number is not None:
        return difference.number != 0
    symbols = {symbol for size in (one, other) for symbol in symbols_of(size)}
    if len(symbols) > 1 or not (is_multiple(one) or is_multiple(other)):
        return False
    return is_positive(bound(difference)) or is_positive(bound(minus(other, one)))


def is_multiple(size: Size) -> bool:
    """Whether a size is only above 0 where the number that it depends on is."""
    if len(size.terms) != 1:
        return False
    ((product, factor),) = size.terms
    quotients = (one.key.size for one, _ in product if isinstance(one.key, Floor))
    return product != ONE and factor > 0 and all(map(is_multiple, quotients))


def symbols_of(size: Size) -> Iterator[Atom]:
    """The numbers that a size depends on, also inside of quotients."""
    for product, _ in size.terms:
        for one, _ in product:
            if isinstance(one.key, Floor):
                yield from symbols_of(one.key.size)
            else:
                yield one


Line: TypeAlias = dict[int, Fraction]
"""A polynomial of one number: what each power of it is multiplied by."""


def bound(size: Size) -> Line | None:
    """What a size of one unknown number is at least; None where that is not found out."""
    parts = [bound_of(product, factor) for product, factor in size.terms]
    known = [part for part in parts if part is not None]
    return added(known) if len(known) == len(parts) else None


def bound_of(product: Product, factor: int) -> Line | None:
    quotients = [one.key for one, _ in product if isinstance(one.key, Floor)]
    if not quotients:
        return {sum(power for _, power in product): Fraction(factor)}
    if len(product) > 1 or any(power > 1 for _, power in product):
        return None
    inner, by = quotients[0]
    line = plain(inner)
    if line is None:
        return None
    share = Fraction(factor, by)
    rounded = {0: -share * (by - 1)} if factor > 0 else {}
    return added([{power: share * each for power, each in line.items()}, rounded])


def plain(size: Size) -> Line | None:
    """A size as a polynomial; None where it holds a quotient."""
    if any(isinstance(one.key, Floor) for product, _ in size.terms for one, _ in product):
        return None
    return added([{sum(p for _, p in product): Fraction(factor)} for product, factor in size.terms])


def added(lines: Iterable[Line]) -> Line:
    return reduce(
        lambda left, right: {p: left.get(p, Fraction()) + right.get(p, Fraction()) for p in left | right},
        lines,
        {},
    )


def is_positive(line: Line | None) -> bool:
    """Whether a polynomial is above 0 from 1 on: written around 1, it has no minus."""
    if not line:
        return False
    factors = [line.get(power, Fraction()) for power in range(max(line) + 1)]
    for start in range(len(factors) - 1):
        for power in range(len(factors) - 2, start - 1, -1):
            factors[power] += factors[power + 1]
    return all(factor >= 0 for factor in factors) and factors[0] > 0
