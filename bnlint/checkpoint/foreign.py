"""What unpickling a file would call: what is harmless, what is not, and what is only unknown."""

from __future__ import annotations

import sys
from _compat_pickle import IMPORT_MAPPING
from typing import Final, Literal

Harm = Literal["none", "unknown", "danger"]

DATA: Final = {
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple",
    "_codecs": "encode",
    "argparse": "Namespace",
    "collections": "ChainMap Counter OrderedDict UserDict UserList defaultdict deque",
    "copyreg": "__newobj__ __newobj_ex__ _reconstructor",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "functools": "partial",
    "ipaddress": "IPv4Address IPv4Network IPv6Address IPv6Network",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "pathlib._local": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "random": "Random",
    "re": "_compile",
    "types": "SimpleNamespace",
    "uuid": "SafeUUID UUID",
    "zoneinfo.ZoneInfo": "_unpickle",
    "numpy": "dtype ndarray",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy._core.numeric": "_frombuffer",
    "numpy.random._pickle": "__bit_generator_ctor __generator_ctor __randomstate_ctor",
    "torch": "Generator Size Tensor device dtype layout",
    "torch._tensor": "_rebuild_from_type_v2",
    "torch.serialization": "_get_layout",
}
"""Names that only make data, by module."""

CLASSES: Final = (
    "addict.",
    "easydict.",
    "lightning.",
    "lightning_fabric.",
    "numpy.dtypes.",
    "omegaconf.",
    "pytorch_lightning.",
    "torch.nn.",
    "torch.optim.",
    "yacs.config.",
)
"""How the names of classes begin that only make data."""
REBUILDERS: Final = "torch._utils._rebuild_"

LIBRARIES: Final = ("numpy", "torch")
STANDARD: Final = sys.stdlib_module_names | {"nt", "posix"}
"""Packages of which every other function does something; so do other classes of the standard library."""


def harm(name: str) -> Harm:
    """What calling a name comes to: nothing, something, or nobody knows (a class of somebody's own)."""
    module, _, last = name.rpartition(".")
    if last in DATA.get(module, "").split() or name.startswith(REBUILDERS):
        return "none"
    package = name.partition(".")[0]
    is_class = last.isidentifier() and last.lstrip("_")[:1].isupper()
    if is_class and (name.startswith(CLASSES) or package in LIBRARIES):
        return "none" if name.startswith(CLASSES) else "unknown"
    return "danger" if package in LIBRARIES or package in STANDARD else "unknown"


def qualified(module: str, name: str) -> str:
    """A name as it is called today: Python 2 had other modules."""
    return f"{IMPORT_MAPPING.get(module, module)}.{name}"
