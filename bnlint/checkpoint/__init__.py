"""Checkpoints: files are read without executing anything, and what they hold becomes facts.

Neither torch nor safetensors is needed. Of a file only its table of tensors is read, and BatchNorm's few
numbers for each channel: a file may be larger than memory.
"""

from bnlint.checkpoint.contents import Contents, contents_of, read
from bnlint.checkpoint.errors import CheckpointError
from bnlint.checkpoint.judged import facts_of, placed
from bnlint.checkpoint.states import State

__all__ = ["CheckpointError", "Contents", "State", "contents_of", "facts_of", "placed", "read"]
