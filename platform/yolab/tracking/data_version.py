"""Which version of the data a run used: DVC's pin of a folder, and whether the folder still equals it.

The one place that imports dvc, inside the functions, since that takes a second. `dvc status` can't answer in a fresh
clone: it says "not in cache" whatever the folder holds. So DVC is asked for the hash of what is there, which needs
neither cache, remote, lock nor git history.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from yolab.data.copies import RemoteSet
from yolab.errors import UsageError, YolabError
from yolab.storage import Storage, is_remote, storage_at


@dataclass(frozen=True)
class DataVersion:
    """What a .dvc file says: `md5` (36 characters, ending in .dir), bytes, files (None: an early DVC did not count),
    the pinned path, the file itself."""

    md5: str
    size: int | None
    nfiles: int | None
    path: Path
    pin_file: Path


def data_version(folder: Path) -> DataVersion | None:
    """Return the version that a .dvc file beside `folder` or beside a folder above it pins, None if none does.

    Looks no higher than the root of the DVC or git repository. Raises UsageError if the .dvc file can't be read.
    """
    folder = folder.resolve()
    for pinned in (folder, *folder.parents):
        if (pinned / ".dvc").is_dir() or (pinned / ".git").exists():
            return None
        pin_file = pinned.parent / f"{pinned.name}.dvc"
        if pin_file.is_file():
            return _read(pin_file, pinned)
    return None


def pushed(folders: Iterable[str]) -> dict[str, RemoteSet]:
    """Return, of those of the folders that are pinned in a repository with a remote, where their files are after a
    `dvc push`: a bucket, with the keys of this machine's environment, or a folder. Raises UsageError for a .dvc file
    that can't be read."""
    found = {}
    for name in folders:
        version = None if is_remote(name) else data_version(Path(name))
        place = _remote(version.pin_file) if version else None
        if version and place:
            within = Path(name).resolve().relative_to(version.path)
            whole = within == Path()
            size = version.size or 0
            found[name] = RemoteSet.in_dvc(place, version.md5, size if whole else 0, "" if whole else within.as_posix())
    return found


def _remote(pin_file: Path) -> Storage | None:
    """Return the default remote of a pin's repository, None if there is none that can be used."""
    root = next((above for above in pin_file.parents if (above / ".dvc").is_dir()), None)
    if root is None:
        return None
    try:
        from dvc.config import Config, ConfigError
    except ModuleNotFoundError:
        return None
    try:
        config = Config(str(root / ".dvc"))
        url = config["remote"].get(config["core"].get("remote"), {}).get("url")
        return storage_at(url) if url else None
    except (ConfigError, UsageError):  # which is about others' data, and none of who trains on what is here
        return None


def check(folder: Path) -> None:
    """Return if the content of `folder` is what its .dvc file pins; other folders under the same pin don't matter.

    Raises UsageError, saying what differs, if it is not, or if no .dvc file pins the folder.
    """
    version = data_version(folder)
    if version is None:
        raise UsageError(f"No .dvc file pins {folder}: run `yolab data version {folder} --pin`.")
    if not folder.is_dir():
        raise UsageError(f"{folder} is pinned by {version.pin_file.name}, but isn't there: draw, download or pull it.")
    difference = _difference(folder.resolve(), version)
    if difference:
        raise UsageError(
            f"{folder} is not what {version.pin_file.name} pins: {difference}. Restore it (`dvc checkout`, or delete "
            f"it and make it again), or pin what is there with `yolab data version {folder} --pin`."
        )


def pin(folder: Path) -> DataVersion:
    """Pin what is in `folder` now, as `dvc add` does, by the .dvc file that pins it already or by a new one beside it.

    Raises UsageError if the folder is missing or not in a DVC repository, YolabError if DVC can't pin it.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)  # its advice on what to commit would go to stdout
    if not folder.is_dir():
        raise UsageError(f"Can't pin {folder}: there is no such folder.")
    version = data_version(folder)
    target = version.path if version else folder.resolve()
    try:
        with Repo(str(target.parent)) as repo:
            repo.add(str(target))
    except NotDvcRepoError:
        raise UsageError(
            f"{folder} is in no DVC repository: run `dvc init` at the root of its git repository."
        ) from None
    except DvcException as error:
        raise YolabError(f"DVC can't pin {folder}: {error}.") from error
    return _read(target.parent / f"{target.name}.dvc", target)


def _read(pin_file: Path, pinned: Path) -> DataVersion:
    try:
        (out,) = yaml.safe_load(pin_file.read_text())["outs"]
        path = pinned.parent / out["path"]
        if "files" in out:  # of a remote that keeps versions itself: each file with its own hash
            files = {tuple(str(file["relpath"]).split("/")): str(file["md5"]) for file in out["files"]}
            return DataVersion(_digest(files), sum(int(f["size"]) for f in out["files"]), len(files), path, pin_file)
        md5 = str(out["md5"])
        if not md5.endswith(".dir"):
            raise ValueError
        return DataVersion(md5, out.get("size"), out.get("nfiles"), path, pin_file)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        raise UsageError(f"{pin_file} is not a .dvc file of one folder: make it again with `dvc add`.") from None


def _difference(folder: Path, version: DataVersion) -> str:
    """Return in words how `folder` differs from the pin, "" if it doesn't."""
    from dvc.dvcfile import load_file
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(version.pin_file.parent), config={"core": {"no_scm": True}}) as repo:
            (out,) = load_file(repo, str(version.pin_file)).stage.outs
            prefix = folder.relative_to(version.path).parts
            found = _files(out, folder, prefix)
            if _digest(found) == version.md5:  # nothing else was pinned
                return ""
            tree = out.get_obj()
            if tree is not None:
                return _in_words(found, {key: oid.value for key, _, oid in tree if key[: len(prefix)] == prefix})
            # Without a cache the pin is one hash of everything under it.
            if prefix and _digest(_files(out, version.path, ())) == version.md5:
                return ""
            return f"the hash of its files is not {version.md5}"
    except DvcException as error:
        raise YolabError(f"DVC can't compare {folder} with {version.pin_file}: {error}.") from error


def _files(out: Any, folder: Path, prefix: tuple[str, ...]) -> dict[tuple[str, ...], str]:
    """Return DVC's hash of every file in `folder`, by its path's parts below the pinned folder."""
    from dvc_data.hashfile.build import build

    tree: Any
    _, _, tree = build(out.cache, str(folder), out.fs, out.hash_name, dry_run=True, ignore=out.dvcignore)
    return {(*prefix, *key): oid.value for key, _, oid in tree}


def _digest(files: dict[tuple[str, ...], str]) -> str:
    """Return DVC's hash of a folder with these files."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    tree = Tree()
    for key, md5 in files.items():
        tree.add(key, None, HashInfo("md5", md5))
    tree.digest()
    return str(tree.hash_info.value)


def _in_words(found: dict[tuple[str, ...], str], pinned: dict[tuple[str, ...], str]) -> str:
    kinds = {
        "changed": [key for key in found if key in pinned and found[key] != pinned[key]],
        "new": [key for key in found if key not in pinned],
        "missing": [key for key in pinned if key not in found],
    }
    return ", ".join(f"{len(keys)} {kind} (such as {'/'.join(min(keys))})" for kind, keys in kinds.items() if keys)
