"""Pickles that want to do harm, or are damaged: refused in words, with nothing run."""

import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from yolab.errors import UsageError
from yolab.models import pickled


def archive(path: Path, program: bytes, compression: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    """A file laid out as torch.save lays it out, around any pickle."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", program)
        for name, content in members.items():
            file.writestr(f"archive/{name.replace('__', '/')}", content)
    return path


class Reduced:
    """An object that pickles as a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def tensor(offset: int, size: tuple, stride: tuple) -> bytes:
    """The pickle of a tensor over a storage of four numbers."""
    program = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n"
    return program + b"(" + _persistent() + _int(offset) + _ints(size) + _ints(stride) + b"tR."


def _persistent() -> bytes:
    text = b"".join(b"X" + struct.pack("<I", len(t)) + t for t in (b"0", b"cpu"))
    return b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + text + b"K\x04tQ"


def _int(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _ints(values: tuple) -> bytes:
    return b"(" + b"".join(_int(value) for value in values) + b"t"


@pytest.mark.parametrize(
    ("program", "named"),
    [
        (pickle.dumps(Reduced(os.system, "touch harmed"), 2), "posix.system"),
        (pickle.dumps(Reduced(eval, "open('harmed', 'w')"), 2), "eval"),
        (pickle.dumps(Reduced(eval, "open('harmed', 'w')"), 4), "builtins.eval"),
        (pickle.dumps(Reduced(getattr, Reduced(__import__, "os"), "system"), 4), "builtins.getattr"),
        (b"cos\nsystem\n(S'touch harmed'\ntR.", "os.system"),
        (b"(S'touch harmed'\nios\nsystem\n.", "os.system"),
        (b"\x80\x04\x8c\x05torch\x8c\x07os.path\x93.", "torch.os.path"),
        (b"\x80\x04\x8c\x0ctorch._utils\x8c\x0atorch.load\x93.", "torch._utils.torch.load"),
        (b"cnumpy\nload\n(S'/etc/passwd'\ntR.", "numpy.load"),
        (b"cnumpy.core.multiarray\nfromfile\n(S'/etc/passwd'\ntR.", "numpy.core.multiarray.fromfile"),
        (b"ctorch.hub\nload\n.", "torch.hub.load"),
        (b"csubprocess\nPopen\n(S'touch harmed'\ntR.", "subprocess.Popen"),
        (b"\x80\x04\x8c\x08argparse\x8c\x15Namespace.__init__.os\x93.", "argparse.Namespace.__init__.os"),
        (b"\x80\x02\x82\x01.", "damaged"),
    ],
)
def test_a_name_that_is_neither_tensor_nor_module_is_refused_by_name_and_nothing_runs(
    program, named, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    file = archive(tmp_path / "file.pt", program)
    with pytest.raises(UsageError, match=named.replace(".", r"\.")):
        pickled.read(file)
    assert [path.name for path in tmp_path.iterdir()] == ["file.pt"]


def test_a_class_of_a_model_is_a_stand_in_even_where_a_module_of_that_name_could_be_imported(tmp_path):
    stand_in = pickled.read(archive(tmp_path / "file.pt", b"ctorch.nn.modules.conv\nConv2d\n)\x81."))
    assert isinstance(stand_in, pickled.StandIn)
    assert stand_in.kind == "Conv2d"


@pytest.mark.parametrize("name", ["argparse\nNamespace", "ultralytics.nn.tasks\nDetectionModel", "__main__\nNet"])
def test_classes_that_only_hold_values_are_stand_ins(name, tmp_path):
    file = archive(tmp_path / "file.pt", b"c" + name.encode() + b"\n)\x81}X\x02\x00\x00\x00lrK\x01sb.")
    stand_in = pickled.read(file)
    assert isinstance(stand_in, pickled.StandIn)
    assert stand_in.state == {"lr": 1}


def test_numbers_of_numpy_beside_a_model_stay_stand_ins(tmp_path):
    import numpy

    program = pickle.dumps({"best_fitness": numpy.float64(0.5), "history": numpy.arange(3)}, 2)
    content = pickled.read(archive(tmp_path / "file.pt", program))
    assert {type(value).__mro__[1] for value in content.values()} == {pickled.StandIn}


def test_deep_nesting_and_modules_within_modules_are_refused_in_words(tmp_path):
    deep = pickled.read(archive(tmp_path / "deep.pt", b"(" * 200_000 + b"t" * 200_000 + b"."))
    assert isinstance(deep, tuple)
    module = inner = pickled.StandIn()
    for _ in range(1000):
        child = pickled.StandIn()
        inner.state = {"_modules": {"m": child}}
        inner = child
    with pytest.raises(UsageError, match="nested deeper"):
        pickled.tensors_of(module)


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (5,), (1,)), (1, (4,), (1,)), (-1, (2,), (1,)), (0, (2, 2), (3, 1)), (0, (2,), (-1,)), (0, (2, 2), (1,))],
)
def test_a_tensor_beyond_its_data_is_refused(offset, size, stride, tmp_path):
    content = struct.pack("<4f", 1, 2, 3, 4)
    good = archive(tmp_path / "good.pt", tensor(0, (2, 2), (2, 1)), data__0=content)
    assert pickled.read(good).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(UsageError, match="exceeds its data"):
        pickled.read(archive(tmp_path / "bad.pt", tensor(offset, size, stride), data__0=content))


def test_truncated_oversized_and_compressed_files_are_refused_in_words(tmp_path, monkeypatch):
    torch.save({"model": {"a.weight": torch.ones(1000)}}, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 30):
        (tmp_path / "cut.pt").write_bytes(whole[:cut])
        with pytest.raises(UsageError, match="cut off"):
            pickled.read(tmp_path / "cut.pt")
    short = archive(tmp_path / "short.pt", tensor(0, (4,), (1,)), data__0=b"\0" * 8)
    with pytest.raises(UsageError, match="damaged"):
        pickled.read(short)
    bomb = archive(tmp_path / "bomb.pt", b"N" * 10_000_000, zipfile.ZIP_DEFLATED)
    with pytest.raises(UsageError, match="compressed"):
        pickled.read(bomb)
    monkeypatch.setattr(pickled, "_MOST_PICKLE_BYTES", 100)
    with pytest.raises(UsageError, match="too large"):
        pickled.read(tmp_path / "whole.pt")
    monkeypatch.undo()
    memo = archive(tmp_path / "memo.pt", b"\x80\x02r\xff\xff\xff\xff.")
    with pytest.raises(UsageError, match="damaged"):
        pickled.read(memo)
    with pytest.raises(UsageError, match="no file"):
        pickled.read(tmp_path / "absent.pt")
