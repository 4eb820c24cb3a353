"""Readers of what strangers write, fed with spoiled copies of sound inputs: each is read, or refused in a sentence.

    python -m tests.fuzz                                10 000 inputs over all readers, their outcomes counted
    python -m tests.fuzz yolo --first 17 --inputs 1     one of them again

A reader is a row of READERS. An input follows from its reader's name, the seed and its number alone. At fault is any
exception but YolabError, a file written by a reader that refuses or outside of its target, a process or a connection
that is begun, and an input that takes longer than LIMIT_SECONDS.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType

from tests.data import test_imports
from yolab.data.formats import import_data
from yolab.data.verify import verify
from yolab.errors import YolabError
from yolab.experiment import load
from yolab.search import ablation_table, search_space

INPUTS = 10_000
LIMIT_SECONDS = 20
REPOSITORY = Path(__file__).parents[1]
Files = Mapping[str, bytes]  # by their paths below a folder


@dataclass(frozen=True)
class Reader:
    """sound: the inputs to spoil. call: reads what is in a folder, and may write the other one."""

    sound: Callable[[], list[Files]]
    call: Callable[[Path, Path], object]


def _imports(layout: str) -> Callable[[], list[Files]]:
    """Return the inputs of the tests of the importers that are imported."""

    def sound() -> list[Files]:
        with tempfile.TemporaryDirectory() as folder:
            found = []
            for name, (files, right) in test_imports.INPUTS.items():
                if name.partition(":")[0] == layout and not isinstance(right, str):
                    found.append(_content(test_imports.write(Path(folder) / str(len(found)), files)))
            return found

    return sound


def _content(folder: Path) -> Files:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _data_set() -> list[Files]:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "set"
        import_data(test_imports.write(Path(folder) / "source", test_imports.yolo()), target)
        return [_content(target)]


def _yaml(pattern: str) -> Callable[[], list[Files]]:
    return lambda: [{"it.yaml": path.read_bytes()} for path in sorted(REPOSITORY.glob(pattern))]


READERS = {
    **{
        layout: Reader(_imports(layout), lambda folder, target: import_data(folder, target))
        for layout in ("yolo", "voc", "cvat", "labelme", "coco")
    },
    "data set": Reader(_data_set, lambda folder, target: verify(folder)),
    "experiment": Reader(_yaml("pipelines/experiments/*.yaml"), lambda folder, target: load(folder / "it.yaml")),
    "space": Reader(
        _yaml("search_spaces/*.yaml"), lambda folder, target: search_space.read(folder / "it.yaml", load("demo"))
    ),
    "table": Reader(
        _yaml("pipelines/tables/table*.yaml"), lambda folder, target: ablation_table.read(str(folder / "it.yaml"))
    ),
}

# What inputs that did harm elsewhere had in them
_PIECES = [
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"nan", b"-1", b"1e999", b"1" * 5000, b"null", b"[]", b"{}", b'""',
    b"true", b"0", b"[" * 5000, b"{a: " * 2000, b'{"a":' * 2000, b"<a>" * 2000, b"&a [*a]", b"*a", b"<<: ",
    b"2026-13-45", b"0x", b"? ", b"!!python/object/apply:os.system ['touch ran']", b"!!binary ", b"!!set ",
    b"../../../", b"/etc/hostname", b"C:\\x\\", b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>', b"&b;",
    b"\xe9", b"e\xcc\x81", b"\xed\xa0\x80", b"\n", b"\t", b"%s", b"{0}", b"\\ud800", b"9" * 300, b"-", b".", b"*",
    b"?", b"'", b'"', b"x" * 5000,
]  # fmt: skip


def _spoiled(sound: list[Files], chance: random.Random) -> Files:
    """Return one of the inputs with some changes in one of its files, now and then without one of them."""
    files = dict(chance.choice(sound))
    name = chance.choice(sorted(files))
    content = bytearray(files[name])
    for _ in range(chance.choice([1, 1, 1, 2, 3, 8])):
        _change(content, bytes(chance.choice(list(chance.choice(sound).values()))), chance)
    files[name] = bytes(content)
    if chance.random() < 0.05:
        files.pop(chance.choice(sorted(files)))
    return files


def _change(content: bytearray, other: bytes, chance: random.Random) -> None:
    first = chance.randrange(len(content) + 1)
    last = min(len(content), first + chance.choice([1, 2, 4, 16, 64]))
    piece = bytes(content[first:last])
    match chance.randrange(6):
        case 0:
            content[first:last] = chance.choice(_PIECES)
        case 1:
            content[first:last] = b""
        case 2:
            content[first:first] = piece * chance.choice([1, 2, 50])
        case 3:
            content[first:last] = chance.randbytes(len(piece))
        case 4:
            content[first:last] = other[first : first + 64]
        case 5:
            del content[first:]


class _Unwanted(BaseException):
    """Something that no input may bring about; nothing that a reader catches."""


_watched: list[Path] = []  # the folder in which a reader may write, while one is at work


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if not _watched:
        return
    if event in ("os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect"):
        raise _Unwanted(f"{event} {arguments!r:.200}")
    if event == "open" and isinstance(arguments[1], str) and set("wax+") & set(arguments[1]):
        path = Path(os.fsdecode(arguments[0])) if isinstance(arguments[0], str | bytes) else None
        if path and not path.absolute().is_relative_to(_watched[0]):
            raise _Unwanted(f"opens {path} to write")


@cache
def _listen() -> None:
    sys.addaudithook(_audit)  # for good: a hook can't be taken away


@contextmanager
def _watch(folder: Path) -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise _Unwanted(f"takes longer than {LIMIT_SECONDS} s")

    _listen()
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT_SECONDS)
    _watched.append(folder)
    try:
        yield
    finally:
        _watched.clear()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(name: str, sound: list[Files], seed: int, number: int) -> str:
    """Return "read", "refused", or, with the traceback or in words, what is at fault."""
    files = _spoiled(sound, random.Random(f"{name} {seed} {number}"))
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source", Path(folder) / "target"
        for path, content in files.items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes(content)
        source.mkdir(exist_ok=True)
        try:
            with _watch(Path(folder)):
                READERS[name].call(source, target)
            found = "read"
        except YolabError as error:
            found = "refused" if str(error) else "refused without a word"
        except (Exception, _Unwanted):
            return traceback.format_exc()
        if _content(source) != files:
            return "the input was changed"
        left = {path.name for path in Path(folder).iterdir()} - {"source"}
        if left and (found, left) != ("read", {"target"}):
            return f"{found}, and {', '.join(sorted(left))} written"
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", choices=[*READERS, []], help="default: all")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="over all readers")
    parser.add_argument("--first", type=int, default=0, help="the number of the first input of each")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    names = asked.readers or list(READERS)
    faults = 0
    with tempfile.TemporaryDirectory() as cache_home:
        os.environ["XDG_CACHE_HOME"] = cache_home
        for place, name in enumerate(names):
            sound = READERS[name].sound()
            counts: Counter[str] = Counter()
            for number in range(asked.first, asked.first + len(range(place, asked.inputs, len(names)))):
                found = outcome(name, sound, asked.seed, number)
                counts[found if found in ("read", "refused") else "at fault"] += 1
                if found not in ("read", "refused"):
                    faults += 1
                    print(f"{name}, input {number}: {found}", file=sys.stderr)
            print(f"{name}: {', '.join(f'{count} {what}' for what, count in sorted(counts.items()))}", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())
