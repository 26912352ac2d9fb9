"""The one table of settings. Each rule that has a threshold adds a key of its own name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bnlint import report, rule
from bnlint.config.errors import ConfigError, nearest
from bnlint.config.kinds import Choice, File, Flag, Kind, Number
from bnlint.config.layer import At, Layer
from bnlint.config.lists import Patterns, Selectors, SelectorsByPattern
from bnlint.finding import SEVERITIES
from bnlint.source.discover import EXCLUDE

if TYPE_CHECKING:
    from collections.abc import Mapping


class Key:
    """A setting: its name in `[tool.bnlint]` and on the command line, and what it is.

    `default` is spelled as in TOML; None where nothing is set. `rule` is the code of the rule whose
    threshold it is.
    """

    def __init__(  # noqa: PLR0913  a line of the table says it all
        self, name: str, kind: Kind, meaning: str, default: Any = None, example: Any = None, *, rule: str = ""
    ) -> None:
        self.name = name
        self.kind = kind
        self.meaning = meaning
        self.default = default
        self.example = example
        self.rule = rule

    @property
    def field(self) -> str:
        """Its name as an argument, and as a field of `Settings` where it has one."""
        return self.name.replace("-", "_")


_FIXED = (
    Key("select", Selectors(), "The rules that are on.", ["ALL"], ["BN2", "tiny-batch"]),
    Key("ignore", Selectors(), "Rules that are off; the more exact selector wins.", [], ["BN203"]),
    Key("extend-select", Selectors(), "Rules that are on besides `select`.", [], ["BN203"]),
    Key(
        "per-file-ignores",
        SelectorsByPattern(),
        "Rules that are off in files and folders that match a pattern.",
        {},
        {"tests/*": ["BN301"]},
    ),
    Key(
        "exclude",
        Patterns(),
        "Files and folders to pass over, in place of the default ones.",
        list(EXCLUDE),
        ["build", "data/*.py"],
    ),
    Key(
        "extend-exclude",
        Patterns(),
        "Files and folders to pass over besides those of `exclude`.",
        [],
        ["third_party"],
    ),
    Key("force-exclude", Flag(), "Pass over what is excluded also where it is named.", default=False),
    Key("respect-gitignore", Flag(), "Pass over what git ignores.", default=True),
    Key("output-format", Choice(report.formats), "How findings are shown.", "full"),
    Key("output-file", File(), "Where the report is written to.", example="bnlint.txt"),
    Key("fail-on", Choice(lambda: SEVERITIES), "The severity from which on the exit status is 1.", "warning"),
    Key("exit-zero", Flag(), "Exit with status 0 also where something was found.", default=False),
    Key("statistics", Flag(), "Show how often each rule spoke, and nothing else.", default=False),
    Key(
        "baseline",
        File(absolute=True),
        "A file of known findings: only what is not in it is reported.",
        example="bnlint-baseline.json",
    ),
    Key("report-unused-noqa", Flag(), "Report comments that silence nothing.", default=False),
    Key("no-cache", Flag(), "Neither look up what earlier runs found out nor keep it.", default=False),
    Key(
        "cache-dir",
        File(absolute=True),
        "Where that is kept, in place of .bnlint_cache beside the settings.",
        example=".cache/bnlint",
    ),
    Key("verbose", Flag(), "Say which settings and how many files were used.", default=False),
    Key("quiet", Flag(), "Show findings and errors only.", default=False),
)

COMMAND_LINE = ("config", "isolated", "write-baseline", "stdin-filename", "color", "no-color")
"""Options that are no settings: they are about one run."""


def _threshold(one: rule.Rule, limit: rule.Threshold) -> Key:
    """The key of a rule that has a threshold."""
    meaning = f"{one.code}: {limit.meaning}."
    return Key(one.name, Number(limit), meaning, limit.default, rule=one.code)


def _table() -> dict[str, Key]:
    limits = (_threshold(one, one.threshold) for one in rule.all_rules() if one.threshold is not None)
    return {key.name: key for key in (*_FIXED, *limits)}


KEYS: Mapping[str, Key] = _table()
"""Every key of `[tool.bnlint]`, by its name."""


def unknown(name: str) -> str:
    """What is wrong with a key that does not exist."""
    option = name.replace("_", "-")
    if option in COMMAND_LINE:
        return f'"{name}" is an option of the command line only, no key'
    if name == "tool":
        return 'unknown key "tool": keys stand here without "tool.bnlint."'
    limited = {one.code: one.name for one in rule.all_rules()}
    meant = limited.get(name.upper(), option.lower())
    if meant in limited.values() and meant not in KEYS:
        return f'unknown key "{name}": this rule has no threshold'
    return f'unknown key "{name}", the nearest is "{nearest(meant, KEYS)}"'


def read(layer: Layer) -> dict[str, Any]:
    """All values of a layer as settings hold them. A misspelt key would do nothing: it is refused."""
    for key in layer.values:
        if key not in KEYS:
            raise ConfigError(f"{layer.place((key,))} {unknown(key)}")
    return {key: KEYS[key].kind.read(value, At(layer, (key,))) for key, value in layer.values.items()}
