"""Reading the tensors of a pickled PyTorch file without running anything that is in it.

A pickle is a program that calls what it names. Here every name is looked up in a short list: tensors and plain
containers are made by code of our own, classes that are no part of Python, and its harmless ones, become inert
stand-ins that only hold their state, and any other name is refused. No name is ever imported.
"""

import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yolab.errors import UsageError

_DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
}
_CONTAINERS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): tuple,
    ("__builtin__", "set"): set,  # as protocol 2 names it
    ("builtins", "set"): set,
}
_INERT_PACKAGES = ("models.", "utils.", "torch.nn.modules.")  # where not every class has a capital letter
# beside the model: settings, dates, paths, or a number of numpy's such as the best score
_INERT_NAMES = {
    "argparse": {"Namespace"},
    "builtins": {"bool", "bytearray", "complex", "dict", "float", "frozenset", "int", "list", "object", "str", "tuple"},
    "collections": {"Counter", "defaultdict", "deque"},
    "datetime": {"date", "datetime", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"scalar", "_reconstruct"},
    "numpy._core.multiarray": {"scalar", "_reconstruct"},
    "_codecs": {"encode"},
    "pathlib": {"Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"},
    "torch": {"device", "dtype", *(str(dtype).removeprefix("torch.") for dtype in _DTYPES.values())},
    "types": {"SimpleNamespace"},
    "uuid": {"UUID"},
}
_MOST_PICKLE_BYTES = 64 * 2**20
_MOST_STORAGE_BYTES = 8 * 2**30
_DEEPEST = 64  # modules within modules


class StandIn:
    """In place of an object of a class that isn't here: `kind` is the class's name, `state` what it was given."""

    kind = ""

    state: Any

    def __new__(cls, *arguments: Any, **named: Any) -> "StandIn":
        made = super().__new__(cls)
        made.state = {}
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignored: items of a container that isn't read."""

    def add(self, value: Any) -> None:
        """Ignored as well."""

    def append(self, value: Any) -> None:
        """Ignored as well."""

    def extend(self, values: Any) -> None:
        """Ignored as well."""


def read(path: Path) -> Any:
    """Return what `torch.save` pickled: tensors on the CPU, plain containers, and StandIn for every object.

    Raises UsageError for anything else, naming it, and for a file that is damaged or too large to be a model.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _Unpickler(archive, path).load()
    except UsageError:
        raise
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}.") from None
    except OSError as error:
        raise UsageError(f"Can't read {path}: {error.strerror or error}.") from None
    except zipfile.BadZipFile:
        raise UsageError(
            f"{path} is not a checkpoint as torch.save has written it since PyTorch 1.6, or it is cut off: "
            "get it again, or save it anew."
        ) from None
    except Exception as error:  # whatever a damaged or hostile pickle makes of the stack machine
        raise UsageError(f"Can't read {path}: its pickle is damaged ({type(error).__name__}: {error}).") from None


def tensors_of(module: StandIn) -> dict[str, Tensor]:
    """Return the tensors of a pickled module by name, in the order of its state dict."""
    return dict(_walk(module, "", 0, set()))


def unwrapped(module: StandIn) -> StandIn:
    """Return the module inside of what spreads it over devices, such as DataParallel: the only one of it, `module`."""
    children = _items(module, "_modules")
    inner = dict(children).get("module")
    return inner if len(children) == 1 and isinstance(inner, StandIn) else module


def _walk(module: Any, prefix: str, depth: int, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    if depth > _DEEPEST:
        raise UsageError(f"Modules are nested deeper than {_DEEPEST} at {prefix[:80]}: this is no detector.")
    if not isinstance(module, StandIn) or not isinstance(module.state, Mapping) or id(module) in seen:
        return
    seen.add(id(module))
    for group in ("_parameters", "_buffers"):
        for name, value in _items(module, group):
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value
    for name, child in _items(module, "_modules"):
        yield from _walk(child, f"{prefix}{name}.", depth + 1, seen)


def kinds_of(module: StandIn) -> set[str]:
    """Return the names of the classes of a pickled module and of all modules in it."""
    found, waiting, seen = set(), [module], set()
    while waiting:
        current = waiting.pop()
        if not isinstance(current, StandIn) or id(current) in seen:
            continue
        seen.add(id(current))
        found.add(current.kind)
        waiting += [child for _, child in _items(current, "_modules")]
    return found


def _items(module: StandIn, group: str) -> list[tuple[Any, Any]]:
    held = module.state.get(group) if isinstance(module.state, Mapping) else None
    return list(held.items()) if isinstance(held, Mapping) else []


def _is_inert(module: str, name: str) -> bool:
    """Return whether a name is that of a class that only holds values: one that is listed, or one with a capital letter
    that is no part of Python."""
    if name in _INERT_NAMES.get(module, ()) or f"{module}.".startswith(_INERT_PACKAGES):
        return True
    of_python = module.split(".")[0] in sys.stdlib_module_names
    return not of_python and all(part[:1].isupper() for part in name.split("."))


class _Unpickler(pickle._Unpickler):  # in Python: that in C allocates as much as a memo's index says
    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self.archive, self.path = archive, path
        names = [name for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(names) != 1:
            raise UsageError(f"{path} is not a checkpoint that torch.save wrote: it has no data.pkl.")
        if names[0].replace("data.pkl", "constants.pkl") in archive.namelist():
            raise UsageError(f"{path} is a TorchScript program, no checkpoint: give the file that it was made of.")
        self.root = names[0].removesuffix("data.pkl")
        self.storages: dict[str, Tensor] = {}
        self.kinds: dict[str, type[StandIn]] = {}
        if self._bytes_of("byteorder", b"little") != b"little":
            raise UsageError(f"{path} was written on a big-endian machine: save it anew on another.")
        super().__init__(io.BytesIO(self._member("data.pkl", _MOST_PICKLE_BYTES)))

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *rest: data
        if (module, name) in _CONTAINERS:
            return _CONTAINERS[module, name]
        if _is_inert(module.replace("__builtin__", "builtins"), name):
            return self.kinds.setdefault(name, type("StandIn", (StandIn,), {"kind": name}))
        raise UsageError(
            f"{self.path} wants to use {module}.{name}, which is neither a tensor nor a part of a model: it was not "
            "read any further. Import files from a source that you trust."
        )

    def persistent_load(self, pid: Any) -> Tensor:
        """Return the flat tensor of a storage: ("storage", dtype, key, device, number of elements)."""
        _, dtype, key, _, elements = pid
        if key not in self.storages:
            if not isinstance(dtype, torch.dtype) or not isinstance(elements, int) or elements < 0:
                raise UsageError(f"{self.path} describes its tensors in a way that torch.save doesn't.")
            content = self._member(f"data/{key}", _MOST_STORAGE_BYTES)
            if len(content) != elements * dtype.itemsize:
                raise UsageError(f"{self.path} is damaged: tensor data {key} has {len(content)} bytes.")
            empty = torch.empty(0, dtype=dtype)
            self.storages[key] = torch.frombuffer(bytearray(content), dtype=dtype) if content else empty
        return self.storages[key]

    def _rebuild_tensor(self, storage: Any, offset: int, size: Any, stride: Any, *rest: Any) -> Tensor:
        last = offset + sum((s - 1) * step for s, step in zip(size, stride))
        whole = all(isinstance(number, int) and number >= 0 for number in (offset, *size, *stride))
        empty = 0 in size
        if not whole or len(size) != len(stride) or (not empty and last >= storage.numel()):
            raise UsageError(f"{self.path} is damaged: a tensor of shape {tuple(size)} exceeds its data.")
        return torch.as_strided(storage, tuple(size), tuple(stride), offset)

    def _member(self, name: str, most: int) -> bytes:
        info = self.archive.getinfo(f"{self.root}{name}")
        if info.compress_type != zipfile.ZIP_STORED:
            raise UsageError(f"{self.path} is compressed inside, as torch.save never does: it was not read.")
        if info.file_size > most:
            raise UsageError(f"{self.path} is too large: {name} has {info.file_size / 2**20:.0f} MiB.")
        return self.archive.read(info)

    def _bytes_of(self, name: str, default: bytes) -> bytes:
        return self._member(name, 16) if f"{self.root}{name}" in self.archive.namelist() else default
