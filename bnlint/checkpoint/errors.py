"""What a file that cannot be inspected raises."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A file is no checkpoint that can be read: one line that names it, says why, and what to do."""
