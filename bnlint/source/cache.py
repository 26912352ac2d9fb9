"""The facts of earlier runs: where no file has changed, a run reads and compares, and analyses nothing.

An entry belongs to a set of files. It holds the digest of each, and what the engine asked of other
files; one different answer, and it does not count. Its first line is the digest of the rest. A cache
that cannot be used is no fault: then the files are analysed. Nothing is kept of runs that take but a
moment.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnlint import __version__
from bnlint.source.disk import digest, still_says
from bnlint.source.packed import CannotPack, pack, unpack
from bnlint.writing import write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bnlint.source.engine import Analysis

WORTH = 0.5
"""Seconds of analysis from which on its facts are kept."""
MOST = 32
"""Entries that are kept, the newest ones."""
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder was made by bnlint and may be deleted.\n"


def cached(folder: Path, files: Sequence[Path], analyse: Callable[[], list[Analysis]]) -> list[Analysis]:
    """The facts of files: known ones if nothing has changed, and otherwise what `analyse` says."""
    digests = _digests(files)
    entry = folder / f"{_key(files)}.json"
    known = _load(entry, digests)
    if known is not None:
        return [known]
    start = time.process_time()
    analyses = analyse()
    took = time.process_time() - start
    if took > WORTH and _is_sound(analyses) and len(digests) == len(files) and digests == _digests(files):
        _save(entry, digests, analyses[0])
    return analyses


def _is_sound(analyses: Sequence[Analysis]) -> bool:
    """Whether nothing went wrong: a fault of ours may be gone in the next run."""
    return len(analyses) == 1 and all(fault.name != "internal-fault" for fault in analyses[0].faults)


def _digests(files: Sequence[Path]) -> dict[str, str]:
    """The digest of each file that can be read."""
    found = {}
    for file in files:
        try:
            found[str(file)] = digest(file.read_bytes())
        except OSError:  # whoever analyses it says so
            continue
    return found


def _key(files: Sequence[Path]) -> str:
    """What an entry is called: the files, and all else that a fact depends on."""
    said = [__version__, sys.version, _engine(), *map(str, files)]
    return digest("\n".join(said).encode("utf-8", "surrogateescape"))


def _engine() -> str:
    """When the engine was last changed, for those who work on it."""
    with os.scandir(Path(__file__).parent) as entries:
        return str(max(entry.stat().st_mtime_ns for entry in entries if entry.name.endswith(".py")))


def _load(entry: Path, digests: Mapping[str, str]) -> Analysis | None:
    """The facts of an entry, if all that they depend on is as it was."""
    try:
        seal, _, text = entry.read_bytes().partition(b"\n")
        if seal.decode() != digest(text):
            return None
        kept = json.loads(text)
        if kept["files"] != digests or not still_says(kept["asked"]):
            return None
        analysis: Analysis = _analysis(kept)
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return None
    return analysis


def _analysis(kept: Mapping[str, Any]) -> Analysis:
    from bnlint.source.engine import Analysis

    return Analysis(unpack(kept["facts"]), unpack(kept["faults"]), skipped=dict(kept["skipped"]))


def _save(entry: Path, digests: Mapping[str, str], analysis: Analysis) -> None:
    """Keep facts; where that is not possible, the next run takes as long as this one."""
    try:
        kept = {
            "files": digests,
            "asked": analysis.asked,
            "skipped": analysis.skipped,
            "facts": pack(analysis.facts),
            "faults": pack(analysis.faults),
        }
        text = json.dumps(kept).encode()
        _prepare(entry.parent)
        write(entry, digest(text).encode() + b"\n" + text)
        _prune(entry.parent)
    except (CannotPack, OSError, ValueError, RecursionError):
        return


def _prepare(folder: Path) -> None:
    """Make the folder, which neither git nor backups look at."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ((".gitignore", "*\n"), ("CACHEDIR.TAG", _TAG)):
        if not (folder / name).exists():
            (folder / name).write_text(text)


def _prune(folder: Path) -> None:
    """Take out the oldest entries."""
    entries = sorted(folder.glob("*.json"), key=os.path.getmtime, reverse=True)
    for old in entries[MOST:]:
        old.unlink(missing_ok=True)
