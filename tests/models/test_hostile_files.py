"""Files of weights and checkpoints that were changed at random: read, or refused in a sentence; nothing is written, and
no code of theirs is run.

To try more of them: .venv/bin/python -m tests.models.test_hostile_files 10000
"""

import io
import json
import os
import random
import struct
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import onnx
import torch
from onnx import TensorProto, helper

from tests.reporting import describe_again, folder_reporter
from yolab.errors import YolabError
from yolab.experiment import Model, Scale
from yolab.models import onnx_file, published_checkpoints, weights
from yolab.models.spec import DetectorSpec
from yolab.storage import Folder
from yolab.tracking.journal import FILE_NAME, Journal
from yolab.tracking.outbox import Outbox
from yolab.tracking.tracked import Tracking
from yolab.training import checkpoint
from yolab.training.ema import Ema
from yolab.training.patience import Patience
from yolab.training.reporter import Reporter

SPEC = DetectorSpec(Model(name="yolov7-tiny", scale=Scale(width=0.0625, hidden=0.0625)), ("box", "disc"), 64)
Files = dict[str, bytes]  # by name, in the folder that is read


class Reader(NamedTuple):
    """`sound` makes files that are read without a complaint by `read`, which gets their folder."""

    sound: Callable[[], Files]
    read: Callable[[Path], object]


def _written(write: Callable[[Path], object]) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def _pickled() -> Files:
    """A checkpoint of a model that is recognised, by the views of one storage, so that it is small."""
    with torch.device("meta"):
        shapes = {
            name: value.shape
            for name, value in DetectorSpec(Model(name="yolov7-tiny"), ("a",), 64).build().state_dict().items()
        }
    one = torch.zeros(1)
    tensors = {name: one.expand(shape) for name, shape in shapes.items() if not name.endswith("tracked")}
    file = io.BytesIO()
    torch.save({"model": {"state_dict": tensors}, "names": ["a"], "epoch": 1}, file)
    return {"file.pt": file.getvalue()}


def _graph() -> Files:
    """The least graph that an ONNX file of a detector can be."""
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, "h", "w"])
    predictions = helper.make_tensor_value_info("predictions", TensorProto.FLOAT, ["n", "p", 7])
    shape = helper.make_tensor("shape", TensorProto.INT64, [3], [1, 1, 7])
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.5])
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["predictions"], value=value)]
    graph = helper.make_graph(nodes, "detector", [images], [predictions], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"yolab": SPEC.to_json()})
    return {"file.onnx": model.SerializeToString()}


def _state() -> checkpoint.State:
    model = SPEC.build()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return checkpoint.State(model, Ema(model, 0.99, 10), optimiser, torch.amp.GradScaler("cpu"))


STATE = _state()


def _reporter(folder: Path) -> Reporter:
    tracking = Tracking(Journal(folder / FILE_NAME), Outbox(Folder(folder)), None)
    return folder_reporter(folder, tracking, Patience(3))


def _write_run(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as written:
        checkpoint.save(Path(written), STATE.copied(), SPEC)
        _reporter(folder).report(1, {"loss": 1.0, "ap": 0.1, "ap50": 0.2}, Path(written))


def _restore(folder: Path) -> None:
    """Restore a run from a checkpoint whose manifest, if it is one, tells the truth: who harms can write that, too."""
    for checkpoint_folder in (folder / "checkpoints").iterdir():
        with suppress(Exception):
            describe_again(checkpoint_folder)
    _reporter(folder).restore(lambda found: checkpoint.load(found, STATE))


READERS = {
    "published checkpoint": Reader(_pickled, lambda folder: published_checkpoints.read(folder / "file.pt")),
    "weights": Reader(
        lambda: _written(lambda folder: weights.save(SPEC.build(), SPEC, folder / "file.safetensors")),
        lambda folder: weights.load(folder / "file.safetensors"),
    ),
    "onnx": Reader(_graph, lambda folder: onnx_file.load(folder / "file.onnx")),
    "description": Reader(
        lambda: {"spec.json": SPEC.to_json().encode()},
        lambda folder: DetectorSpec.from_json((folder / "spec.json").read_bytes().decode("latin1"), "the file"),
    ),
    "checkpoint of a run": Reader(
        lambda: _written(_write_run),
        _restore,
    ),
}
# what would leave something in the folder, if it were called
CALLS = (
    b"cos\nsystem\n(S'touch harmed'\ntR.",
    b"cbuiltins\nopen\n(S'harmed'\nS'w'\ntR.",
    b"cposix\nmkdir\n(S'harmed'\ntR.",
)
VALUES = (None, True, -1, 0, 1e308, float("nan"), 10**30, "", "x", "\ud800", [], [[]], {}, {"a": 1}, [0] * 1000)


def run(count: int, seed: int) -> Counter[str]:
    """Read so many changed files, the same for the same seed; return how many were read and how many refused, by
    reader. Raises AssertionError for one that does anything else, and says how it was made."""
    outcomes: Counter[str] = Counter()
    sound = {name: reader.sound() for name, reader in READERS.items()}
    names = list(READERS)
    for number in range(count):
        name = names[number % len(names)]
        outcome = _outcome_of(
            READERS[name], _changed(sound[name], random.Random(f"{seed} {number}")), f"{seed} {number}"
        )
        outcomes[f"{name}: {outcome}"] += 1
    return outcomes


def _outcome_of(reader: Reader, files: Files, made_by: str) -> str:
    with _own_folder() as folder:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        told = ""
        try:
            reader.read(folder)
        except YolabError as error:
            told = str(error)
        except Exception as error:
            raise AssertionError(f"{made_by}: {type(error).__name__}: {error}") from error
        assert len(told) < 1000, f"{made_by}: a sentence of {len(told)} characters"
        there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert there <= files.keys() | {FILE_NAME}, f"{made_by}: wrote {there - files.keys()}"
        return "refused" if told else "read"


@contextmanager
def _own_folder() -> Iterator[Path]:
    """Give a folder that is also the current one, where the calls in changed files would do their harm."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def _changed(files: Files, chance: random.Random) -> Files:
    """Change one of the files."""
    name = chance.choice(sorted(files))
    return files | {name: _CHANGES[chance.choice(sorted(_CHANGES))](files[name], chance)}


def _flipped(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 3, 30))):
        # the beginning and the end say more than what is between
        last = len(changed) - 1
        place = chance.choice(
            (chance.randint(0, last), chance.randint(0, min(300, last)), last - chance.randint(0, min(300, last)))
        )
        changed[place] = chance.randrange(256)
    return bytes(changed)


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def _doubled(content: bytes, chance: random.Random) -> bytes:
    start, end = sorted(chance.randrange(len(content)) for _ in range(2))
    return content[:end] + content[start : min(end, start + 1000)] + content[end:]


def _described_otherwise(content: bytes, chance: random.Random) -> bytes:
    """Change a value of the description, wherever the file has it; the lengths around it are mended."""
    old = SPEC.to_json()
    said = json.loads(old)
    keys = chance.choice([*([key] for key in said), ["model", "name"], ["model", "scale", "depth"], ["more"]])
    place = said
    for key in keys[:-1]:
        place = place[key]
    if chance.random() < 0.2:
        place.pop(keys[-1], None)
    else:
        place[keys[-1]] = chance.choice(VALUES)
    new = json.dumps(said)
    if content.startswith(b"{"):
        return new.encode()
    length = struct.unpack("<Q", content[:8])[0] if len(content) > 8 else 0
    if content[8:9] == b"{" and length < len(content):
        header = json.loads(content[8 : 8 + length])
        header["__metadata__"] = {"yolab": new}
        head = json.dumps(header).encode()
        return struct.pack("<Q", len(head)) + head + content[8 + length :]
    if old.encode() in content and b"images" in content:
        model = onnx.load_from_string(content)
        helper.set_model_props(model, {"yolab": new})
        return model.SerializeToString()
    return _flipped(content, chance)


def _pickled_otherwise(content: bytes, chance: random.Random) -> bytes:
    """Change the pickle inside of what torch.save wrote, with its checksum mended, or put a call into it."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return _flipped(content, chance)
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w") as changed:
        for member in source.namelist():
            inner = source.read(member)
            if member.endswith("data.pkl"):
                inner = chance.choice(CALLS) if chance.random() < 0.1 else _flipped(inner, chance)
            changed.writestr(member, inner)
    return target.getvalue()


_CHANGES = {
    "flipped": _flipped,
    "cut": _cut,
    "doubled": _doubled,
    "described": _described_otherwise,
    "pickled": _pickled_otherwise,
}


def test_sound_files_are_read() -> None:
    for reader in READERS.values():
        assert _outcome_of(reader, reader.sound(), "sound") == "read"


def test_changed_files_are_read_or_refused_in_a_sentence() -> None:
    outcomes = run(200, seed=0)
    assert {outcome.split(": ")[1] for outcome in outcomes} == {"read", "refused"}
    assert outcomes.total() == 200


if __name__ == "__main__":
    for outcome, count in sorted(run(int(sys.argv[1]), seed=0).items()):
        print(f"{count:6} {outcome}")
