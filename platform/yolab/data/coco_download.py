"""The official COCO 2017 files: fetched, held to their checksums, and packed without being unpacked on the way."""

import hashlib
import json
import shutil
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError

from yolab.data.new_folder import new_folder
from yolab.data.pack import Packed, write_shards
from yolab.errors import UsageError, YolabError

MIRROR = "http://images.cocodataset.org"
_ATTEMPTS = 5  # in a row that bring nothing
_PIECE_BYTES = 1 << 20
Progress = Callable[[str, int, int], None]


class Archive(NamedTuple):
    """A zip file as COCO publishes it; sizes and checksums as TensorFlow Datasets lists them."""

    path: str  # below the mirror's address
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return Path(self.path).name


class Split(NamedTuple):
    images: Archive
    annotations: Archive
    member: str  # of the annotations' archive


_TRAINVAL = Archive(
    "annotations/annotations_trainval2017.zip",
    252_907_541,
    "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
)
_TEST_INFO = Archive(
    "annotations/image_info_test2017.zip",
    1_144_034,
    "e52f412dd7195ac8f98d782b44c6dd30ea10241e9f42521f67610fbe055a74f8",
)
_TRAIN = Archive(
    "zips/train2017.zip", 19_336_861_798, "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929"
)
_VAL = Archive("zips/val2017.zip", 815_585_330, "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05")
_TEST = Archive("zips/test2017.zip", 6_646_970_404, "c7908c3c9f94ba2f3340ebbeec58c25db6be8774f18d68c2f15d0e369d95baba")
SPLITS = {
    "train2017": Split(_TRAIN, _TRAINVAL, "annotations/instances_train2017.json"),
    "val2017": Split(_VAL, _TRAINVAL, "annotations/instances_val2017.json"),
    "test-dev2017": Split(_TEST, _TEST_INFO, "annotations/image_info_test-dev2017.json"),
}


def get(
    target: Path,
    splits: Sequence[str] = ("train2017", "val2017"),
    mirror: str = MIRROR,
    progress: Progress | None = None,
) -> dict[str, Packed]:
    """Write the named splits of COCO to a new folder, packed; say what of each.

    The archives stand in `<target>.downloads` until the folder is complete, so that an interrupted download goes on.
    `progress` is called with (what is being done and counted, done, in all).

    Raises UsageError if the target is there already or the disk is too small, YolabError if an archive can't be had or
    is not the published one.
    """
    target = target.resolve()
    if not mirror.startswith(("http://", "https://")):
        raise UsageError(f"--mirror can't be {mirror!r}: give an address that begins with http:// or https://.")
    downloads = target.with_name(f"{target.name}.downloads")
    wanted = dict.fromkeys(archive for name in splits for archive in SPLITS[name][:2])
    packed = {}
    with new_folder(target) as incoming:
        downloads.mkdir(exist_ok=True)
        _require_space(downloads, wanted)
        for archive in wanted:
            download(f"{mirror.rstrip('/')}/{archive.path}", archive, downloads / archive.name, progress)
        (incoming / "annotations").mkdir()
        for name in splits:
            split = SPLITS[name]
            with zipfile.ZipFile(downloads / split.annotations.name) as zipped:
                content = zipped.read(split.member)
            (incoming / split.member).write_bytes(content)
            images = sorted(json.loads(content)["images"], key=lambda image: image["id"])
            files = [image["file_name"] for image in images]
            shards = write_shards(_members(downloads / split.images.name, files, name, progress), incoming / name)
            packed[name] = Packed(len(files), shards)
    shutil.rmtree(downloads)
    return packed


def download(url: str, archive: Archive, target: Path, progress: Progress | None = None) -> None:
    """Bring a file here, going on where an earlier attempt ended, and check it.

    Raises YolabError if the server doesn't give it; if it is not what was published, it is removed too.
    """
    fruitless = 0
    while (have := target.stat().st_size if target.exists() else 0) < archive.size:
        try:
            _continue(url, archive, target, have, progress)
        except (OSError, HTTPException) as error:
            if isinstance(error, HTTPError) and error.code < 500:  # it will say the same the next time
                if error.code == 416:  # the server's file is shorter than what is here
                    target.unlink()
                raise YolabError(f"Can't get {url}: {error}. --mirror takes another address.") from None
            fruitless = 0 if target.exists() and target.stat().st_size > have else fruitless + 1
            if fruitless == _ATTEMPTS:
                why = getattr(error, "reason", error)
                raise YolabError(
                    f"Can't get {url}: {why}. {have} of {archive.size} bytes are there; the same command goes on, "
                    "and --mirror takes another address."
                ) from error
            time.sleep(2**fruitless)
    with target.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != archive.sha256:
        target.unlink()
        raise YolabError(f"{url} is not the published file: its SHA-256 is {found}, not {archive.sha256}.")


def _continue(url: str, archive: Archive, target: Path, have: int, progress: Progress | None) -> None:
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        continues = answer.status == 206  # or the server sends all of it again
        done = have if continues else 0
        with target.open("ab" if continues else "wb") as file:
            while piece := answer.read(_PIECE_BYTES):
                file.write(piece)
                done += len(piece)
                if progress:
                    progress(f"{archive.name}, MB", done // 10**6, archive.size // 10**6)
    if done < archive.size:
        raise ConnectionError(f"it broke off after {done} bytes")


def _members(zipped: Path, files: Sequence[str], split: str, progress: Progress | None) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(zipped) as archive:
        folder = f"{zipped.stem}/"
        for done, file in enumerate(files, start=1):
            yield file, archive.read(folder + file)
            if progress:
                progress(f"{split}, images packed", done, len(files))


def _require_space(downloads: Path, archives: dict[Archive, None]) -> None:
    here = (downloads / archive.name for archive in archives)
    needed = sum(2 * archive.size for archive in archives) - sum(file.stat().st_size for file in here if file.exists())
    free = shutil.disk_usage(downloads).free
    if needed > free:
        raise UsageError(
            f"COCO needs {needed / 1e9:.0f} GB there, archives and what is packed of them, and {downloads.parent} has "
            f"{free / 1e9:.0f} GB free: choose another disk."
        )
