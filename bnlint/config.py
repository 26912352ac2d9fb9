"""`[tool.bnlint]`, the command line and the arguments of `bnlint.lint` -> frozen settings."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bnlint import report, rule
from bnlint.finding import SEVERITIES
from bnlint.source.discover import EXCLUDE, matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bnlint.finding import Finding, Severity

TABLE = "[tool.bnlint]"
FAULT = "BN000"
FAULT_NAMES = ("unreadable-source", "internal-fault")
"""What BN000 says. It is no rule: it is on whatever is selected, and is turned off by its own names only."""

KEYS = (
    "select",
    "ignore",
    "extend-select",
    "per-file-ignores",
    "exclude",
    "extend-exclude",
    "output-format",
    "fail-on",
)
"""Every key of `[tool.bnlint]`."""


class ConfigError(Exception):
    """A setting that is wrong: where it stands, what is wrong with it, and what is nearest."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run of bnlint is to do.

    `codes` are the rules that are on, `muted` the names of BN000 that were turned off.
    Patterns with a slash are absolute, others are names of files or folders.
    """

    codes: frozenset[str]
    muted: frozenset[str] = frozenset()
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    exclude: tuple[str, ...] = EXCLUDE
    output_format: str = "full"
    fail_on: Severity = "warning"
    file: Path | None = None

    def reports(self, finding: Finding) -> bool:
        """Was this finding asked for, in this file?"""
        asked = finding.name not in self.muted if finding.code == FAULT else finding.code in self.codes
        return asked and not any(
            _rank(selector, finding.code, finding.name) is not None
            for pattern, selectors in self.per_file_ignores
            if _is_within(finding.where.filename, pattern)
            for selector in selectors
        )

    def fails(self, finding: Finding) -> bool:
        """Is a finding grave enough for exit status 1?"""
        return SEVERITIES.index(finding.severity) >= SEVERITIES.index(self.fail_on)


def load(
    paths: Sequence[str | os.PathLike[str]],
    given: Mapping[str, object],
    *,
    config: str | os.PathLike[str] | None = None,
    isolated: bool = False,
) -> Settings:
    """The settings for a run on `paths`: what is `given` (the command line) goes before the file.

    The file is `config`, or the nearest `pyproject.toml` upwards from the first path that has a
    table `[tool.bnlint]`; none at all with `isolated`. Raises `ConfigError`.
    """
    layers = []
    file = Path(config) if config is not None else None if isolated else find(paths)
    if file is not None:
        layers.append(_Layer(f"{file}: {TABLE}", file.absolute().parent, _table_of(file)))
    layers.append(_Layer("setting", Path.cwd(), given))
    for layer in layers:
        layer.check_keys()
    codes, muted = _selection(layers)
    return Settings(
        codes=codes,
        muted=muted,
        per_file_ignores=tuple(pair for layer in layers for pair in layer.per_file_ignores()),
        exclude=_exclude(layers),
        output_format=_choice(layers, "output-format", report.formats(), "full"),
        fail_on=cast("Severity", _choice(layers, "fail-on", SEVERITIES, "warning")),
        file=file,
    )


def find(paths: Sequence[str | os.PathLike[str]]) -> Path | None:
    """The nearest `pyproject.toml` upwards from the first path that has a table for bnlint."""
    start = Path(paths[0] if paths else ".").absolute()
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        # A file that does not name bnlint is none of its business: it is not even parsed.
        if os.path.isfile(file) and b"bnlint" in _read(file) and _has_table(file):
            return file
    return None


def selector(word: str) -> str:
    """A selector of rules in its one spelling: `ALL`, a code or its beginning, or a name."""
    rules = rule.all_rules()
    codes = [*(one.code for one in rules), FAULT]
    names = [*(one.name for one in rules), *FAULT_NAMES]
    code, name = word.strip().upper(), word.strip().lower().replace("_", "-")
    if code == "ALL" or (code.startswith("BN") and any(known.startswith(code) for known in codes)):
        return code
    if name in names:
        return name
    near = nearest(word, [*codes, *names, "ALL"])
    raise ConfigError(f'unknown rule "{word}", the nearest is "{near}"')


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like a given one."""
    from difflib import SequenceMatcher  # only needed for what went wrong

    def likeness(candidate: str) -> float:
        pair = word.lower(), candidate.lower()
        same = next((i for i, (a, b) in enumerate(zip(*pair, strict=False)) if a != b), min(map(len, pair)))
        # Codes differ in a few digits only, of which the first ones say most.
        return SequenceMatcher(None, *pair).ratio() + 0.1 * same

    return max(known, key=likeness)


@dataclass(frozen=True, slots=True)
class _Layer:
    """One source of settings: the file, or the command line above it. `origin` names it in errors."""

    origin: str
    base: Path
    values: Mapping[str, object]

    def check_keys(self) -> None:
        """Refuse what is not known: a misspelt setting would silently do nothing."""
        for key in self.values:
            if key not in KEYS:
                raise ConfigError(f'{self.origin} unknown key "{key}", the nearest is "{nearest(key, KEYS)}"')

    def words(self, key: str) -> tuple[str, ...]:
        """A list of strings, empty where it is not given."""
        return self._words(key, self.values.get(key, ()))

    def selectors(self, key: str) -> tuple[str, ...]:
        """A list of selectors, each of which names a rule."""
        return tuple(self._selector(key, word) for word in self.words(key))

    def patterns(self, key: str) -> tuple[str, ...]:
        """A list of patterns of files and folders."""
        return tuple(self._pattern(word) for word in self.words(key))

    def per_file_ignores(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        """Each pattern with the selectors that are off there."""
        key = "per-file-ignores"
        table = self.values.get(key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{self.origin} {key}: expected a table of lists of strings, got {table!r}")
        for pattern, value in table.items():
            words = self._words(f'{key}."{pattern}"', value)
            yield self._pattern(pattern), tuple(self._selector(f'{key}."{pattern}"', word) for word in words)

    def choice(self, key: str, choices: Sequence[str], default: str) -> str:
        """One of a few words."""
        value = self.values.get(key, default)
        if not isinstance(value, str):
            raise ConfigError(f"{self.origin} {key}: expected a string, got {value!r}")
        if value not in choices:
            near = nearest(value, choices)
            raise ConfigError(f'{self.origin} {key}: unknown value "{value}", the nearest is "{near}"')
        return value

    def _words(self, key: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)) or not all(isinstance(word, str) for word in value):
            raise ConfigError(f"{self.origin} {key}: expected a list of strings, got {value!r}")
        return tuple(value)

    def _selector(self, key: str, word: str) -> str:
        try:
            return selector(word)
        except ConfigError as problem:
            raise ConfigError(f"{self.origin} {key}: {problem}") from None

    def _pattern(self, word: str) -> str:
        """A pattern as `discover.matches` wants it: with a slash it is relative to where it was written."""
        word = word.removeprefix("./").rstrip("/")
        if "/" not in word or word.startswith("/"):
            return word
        base = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in self.base.as_posix())
        return f"{base.rstrip('/')}/{word}"


def _selection(layers: Iterable[_Layer]) -> tuple[frozenset[str], frozenset[str]]:
    """The rules that are on, and the names of BN000 that are off.

    Within a layer the more exact selector wins (`select = ["BN3"]`, `ignore = ["BN301"]`), and
    `ignore` wins a draw. A later layer goes before an earlier one.
    """
    known = {one.code: one.name for one in rule.all_rules()}
    chosen, muted = set(known), set[str]()
    for layer in layers:
        selected = layer.selectors("select")
        wanted, ignored = (*selected, *layer.selectors("extend-select")), layer.selectors("ignore")
        if "select" in layer.values:
            chosen = set()
        for code, name in known.items():
            on, off = _best(wanted, code, name), _best(ignored, code, name)
            if on > off:
                chosen.add(code)
            elif off >= 0:
                chosen.discard(code)
        muted |= {name for name in FAULT_NAMES if _best(ignored, FAULT, name) >= 0}
    return frozenset(chosen), frozenset(muted)


def _best(selectors: Iterable[str], code: str, name: str) -> int:
    """How exactly the best of some selectors names a rule; -1 where none does."""
    ranks = (_rank(one, code, name) for one in selectors)
    return max((rank for rank in ranks if rank is not None), default=-1)


def _rank(selector: str, code: str, name: str) -> int | None:
    """How exactly a selector names a rule, if it does; a name is as exact as the whole code."""
    if selector in (name, code):
        return len(code)
    if code == FAULT:
        return None
    if selector == "ALL":
        return 0
    return len(selector) if code.startswith(selector) else None


def _exclude(layers: Iterable[_Layer]) -> tuple[str, ...]:
    """As in ruff, `exclude` replaces what is excluded by default and `extend-exclude` adds to it."""
    patterns: tuple[str, ...] = EXCLUDE
    for layer in layers:
        if "exclude" in layer.values:
            patterns = layer.patterns("exclude")
        patterns += layer.patterns("extend-exclude")
    return patterns


def _choice(layers: Iterable[_Layer], key: str, choices: Sequence[str], default: str) -> str:
    """One of a few words; each layer is asked, so that a wrong one is found also where it is overridden."""
    for layer in layers:
        default = layer.choice(key, choices, default)
    return default


def _is_within(filename: str, pattern: str) -> bool:
    """Does a pattern match a file or a folder that it is in?"""
    return any(matches(path, (pattern,)) for path in (filename, *map(str, Path(filename).parents)))


def _has_table(file: Path) -> bool:
    tool = _parse(file).get("tool")
    return isinstance(tool, dict) and "bnlint" in tool


def _table_of(file: Path) -> Mapping[str, object]:
    """The table of a file that was found or named."""
    tool = _parse(file).get("tool")
    table = tool.get("bnlint") if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: has no table {TABLE}")
    return table


def _parse(file: Path) -> dict[str, object]:
    """The whole TOML file."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]
    try:
        return cast("dict[str, object]", tomllib.loads(_read(file).decode()))
    except ValueError as problem:  # not UTF-8, or not TOML
        raise ConfigError(f"{file}: not valid TOML: {problem}") from problem


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        raise ConfigError(f"{file}: cannot be read: {problem.strerror}") from problem
