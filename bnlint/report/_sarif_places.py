"""Places as SARIF names them: a URI, a region with its text, and names for what is no line of a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

from bnlint.report._served import Json, said, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnlint.finding import Edit, Fix, Step, Where
    from bnlint.report import View

ROOT = "%SRCROOT%"
"""What relative URIs begin at. Where that is on this machine is nobody's business."""


def location(where: Where, view: View) -> Json:
    """A place in a file; rows of a notebook count from the start of their cell."""
    shown: Json = {
        "physicalLocation": {
            "artifactLocation": _artifact(where.filename, view),
            "region": _region(where, view),
        }
    }
    logical = [
        {"fullyQualifiedName": name, "kind": kind}
        for name, kind in ((where.module, "module"), (where.cell and f"cell {where.cell}", "cell"))
        if name
    ]
    return {**shown, "logicalLocations": logical} if logical else shown


def steps(evidence: Sequence[Step], view: View) -> Json:
    """The evidence: as the path that it is, and as places, which is what some viewers show."""
    if not evidence:
        return {}
    places = [
        {**location(step.where, view), "message": {"text": said(step.message, step.where)}}
        for step in evidence
    ]
    return {
        "codeFlows": [{"threadFlows": [{"locations": [{"location": one} for one in places]}]}],
        "relatedLocations": [{"id": number, **one} for number, one in enumerate(places, start=1)],
    }


def fixes(fix: Fix | None, view: View) -> Json:
    """A fix; none where a row is no row of the file, as with the cells of a notebook."""
    if fix is None or any(edit.where.cell is not None for edit in fix.edits):
        return {}
    files: dict[str, list[Json]] = {}
    for edit in fix.edits:
        files.setdefault(edit.where.filename, []).append(_replacement(edit))
    changes = [
        {"artifactLocation": _artifact(filename, view), "replacements": some}
        for filename, some in files.items()
    ]
    properties = {"applicability": fix.applicability}
    shown = {"description": {"text": fix.message}, "artifactChanges": changes, "properties": properties}
    return {"fixes": [shown]} if changes else {}


def _replacement(edit: Edit) -> Json:
    return {"deletedRegion": _rows(edit.where), "insertedContent": {"text": edit.content}}


def _artifact(filename: str, view: View) -> Json:
    """A file: its bytes in percents, relative to the root unless it lies outside of it."""
    name = view.path(filename)
    if os.path.isabs(name):
        return {"uri": Path(name).as_uri()}
    return {"uri": quote_from_bytes(os.fsencode(name.replace(os.sep, "/"))), "uriBaseId": ROOT}


def _region(where: Where, view: View) -> Json:
    text = _written(where, view.lines(where))
    return {**_rows(where), "snippet": {"text": text}} if text else _rows(where)


def _rows(where: Where) -> Json:
    return dict(zip(("startLine", "startColumn", "endLine", "endColumn"), span(where), strict=True))


def _written(where: Where, lines: Sequence[str]) -> str:
    """What stands at a place; nothing where its source is not known."""
    row, column, end_row, end_column = span(where)
    if end_row > len(lines):
        return ""
    rows = list(lines[row - 1 : end_row])
    rows[-1] = rows[-1][: end_column - 1]
    rows[0] = rows[0][column - 1 :]
    return "\n".join(rows)
