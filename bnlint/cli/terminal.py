"""What the terminal can show: colours, its width, links; each can be asked for by the environment."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from bnlint.progress import is_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 100
"""Columns where the output is no terminal."""

_STYLES: dict[str, dict[str, Any]] = {
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow", "bold": True},
    "info": {"fg": "cyan", "bold": True},
    "path": {"bold": True},
    "code": {"bold": True},
    "line": {"fg": "bright_black"},
    "step": {"fg": "blue"},
    "help": {"fg": "green"},
    "good": {"fg": "green", "bold": True},
}

_LINKING = {"iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "rio", "Tabby", "WarpTerminal"}
"""Values of `TERM_PROGRAM` whose terminals follow links."""
_LINKING_TERMS = ("xterm-kitty", "xterm-ghostty", "alacritty", "foot", "contour", "wezterm")
_LINKING_SIGNS = ("KITTY_WINDOW_ID", "WT_SESSION", "KONSOLE_VERSION", "DOMTERM")
_VTE = 5000
"""The version of VTE from which on links do not crash it."""


def color_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--color` and `--no-color`."""
    text = "Colours.  [default: on a terminal]"
    return click.option("--color/--no-color", default=None, help=text)(command)


def paint(text: str, style: str) -> str:
    """A text in one of the styles of `bnlint.report.STYLES`."""
    return click.style(text, **_STYLES[style]) if text else text


def colors(asked: bool | None) -> bool | None:  # noqa: FBT001
    """Whether to colour; None leaves it to click, which looks for a terminal."""
    if asked is not None:
        return asked
    if os.environ.get("NO_COLOR"):
        return False
    if forced := os.environ.get("FORCE_COLOR"):
        return forced not in {"0", "false"}
    return False if os.environ.get("TERM") == "dumb" else None


def width() -> int:
    """The columns of the terminal, or those that `COLUMNS` asks for; `shutil` would be slow to import."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH
    except (OSError, ValueError):
        return WIDTH


def link(text: str, url: str) -> str:
    """A text that leads to a page (OSC 8)."""
    return f"\x1b]8;;{url}\x1b\\{text}\x1b]8;;\x1b\\" if url else text


def follows_links() -> bool:
    """Does the terminal behind standard output follow links? `FORCE_HYPERLINK` knows better."""
    env = os.environ
    if (forced := env.get("FORCE_HYPERLINK")) is not None:
        return forced not in {"", "0", "false"}
    if not is_terminal(sys.stdout) or env.get("CI") or env.get("TERM") == "dumb":
        return False
    vte = env.get("VTE_VERSION", "")
    return (
        env.get("TERM_PROGRAM") in _LINKING
        or env.get("TERM", "").startswith(_LINKING_TERMS)
        or any(sign in env for sign in _LINKING_SIGNS)
        or (vte.isdecimal() and int(vte) >= _VTE)
    )
