"""A command that a cluster elsewhere runs for us, with the code and the files from here."""

import hashlib
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from yolab import own_wheel
from yolab.cluster.submission import Job, Jobs
from yolab.errors import UsageError, YolabError
from yolab.experiment import did_you_mean
from yolab.experiment.load import with_extended
from yolab.jobs.result import Result
from yolab.jobs.watcher import SILENT, Watcher
from yolab.storage import is_remote
from yolab.tracking import commit
from yolab.tracking.mlflow_uri import sqlite_file, without_password

_YAML = (".yaml", ".yml")
_PASSED_ON = ("YOLAB_STORAGE", "MLFLOW_TRACKING_URI")
_PATIENCE_SECONDS, _LOOK_SECONDS = 300.0, 2.0
_MOST_TRIES = 10  # of a job that is lost each time
_FORGOTTEN_SECONDS = 20.0  # until what it held counts as free, for a command that doesn't wait for that


@dataclass(frozen=True)
class SubmitResult(Result):
    """A job: its name on the cluster, and the exit code of its command; None: nobody has waited for it."""

    job: str
    code: int | None

    @property
    def exit_code(self) -> int:
        return self.code or 0


def submit(
    words: Sequence[str],
    *,
    hear: Callable[[str], object],
    wait: bool = True,
    cpus: float | None = None,
    gpus: float | None = None,
    watcher: Watcher = SILENT,
) -> SubmitResult:
    """Let the cluster of RAY_API_SERVER_ADDRESS run `yolab` with these `words`; `hear` what it prints until it has
    ended, unless we don't `wait`. What the command occupies itself, beside what it asks of Ray, is `cpus` and `gpus` of
    one node.

    The wheel of this yolab and the files that the words name go along. The same words find the job that they began, if
    it still runs. A job that was lost with its cluster is begun again when that is back, and goes on where it was.
    Raises UsageError and YolabError.
    """
    files = _files_of(words)
    variables = _variables(words, files)
    jobs = Jobs()
    told = repr(([*words], sorted(variables.items())))
    stem = f"{words[0]}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
    described = commit.described_commit(Path.cwd())
    variables |= {commit.VARIABLE: described} if described else {}
    with tempfile.TemporaryDirectory() as scratch:
        wheel = own_wheel.write(Path(scratch))
        folder = _copied(files, Path(scratch, "files"))

        def running() -> str:
            """Return the name of the job of these words that runs, which is begun if there is none."""
            numbers = [int(name.rpartition("-")[2]) for name in jobs.names() if re.fullmatch(rf"{stem}-\d+", name)]
            for number in numbers:
                if not _require(jobs, f"{stem}-{number}").has_ended:
                    name = f"{stem}-{number}"
                    watcher.note(f"{name} runs already, with its own code: `yolab submit --cancel {name}` ends it.")
                    return name
            name = f"{stem}-{max(numbers, default=0) + 1}"
            jobs.begin(name, f"exec python -m yolab.cli {shlex.join(words)}", wheel, folder, variables, cpus, gpus)
            watcher.note(f"Submitted as {name}: Ctrl-C leaves it there, `yolab submit --attach {name}` returns to it.")
            return name

        name = running()
        for _ in range(_MOST_TRIES if wait else 0):
            job = jobs.follow(name, hear, watcher.note)
            if job is not None and job.exit_code is not None:
                return _ended(job, watcher)
            says = f" ({job.says})" if job and job.says else ""
            watcher.note(f"{name} was lost with its cluster, or its node{says}: it is submitted again.")
            if "--restartable" not in words:
                time.sleep(_FORGOTTEN_SECONDS)
            name = _insist(running)
    if wait:
        raise YolabError(f"{name} was lost {_MOST_TRIES} times: `yolab doctor --cluster` looks at the cluster.")
    return SubmitResult(name, None)


def attach(name: str, *, hear: Callable[[str], object], watcher: Watcher = SILENT) -> SubmitResult:
    """Hear what a job prints, from its beginning, until it has ended. Raises UsageError if the cluster doesn't know it,
    YolabError if it was lost."""
    jobs = Jobs()
    _require(jobs, name)
    job = jobs.follow(name, hear, watcher.note)
    if job is None or job.exit_code is None:
        raise YolabError(f"{name} was lost with its cluster, or its node: submit its command again, and it goes on.")
    return _ended(job, watcher)


def cancel(name: str, watcher: Watcher = SILENT) -> SubmitResult:
    """Stop a job, with its state saved, and wait until it has. Raises UsageError if the cluster doesn't know it."""
    jobs = Jobs()
    job = _require(jobs, name)
    if job.has_ended:
        watcher.note(f"{name} has ended already.")
        return SubmitResult(name, None)
    jobs.stop(name)
    watcher.note(f"{name} stops when its state is saved.")
    jobs.follow(name, lambda text: None, watcher.note)
    watcher.note(f"{name} has stopped. The same command goes on.")
    return SubmitResult(name, None)


def _ended(job: Job, watcher: Watcher) -> SubmitResult:
    if job.exit_code and job.says and "last available logs" not in job.says:  # which have been heard
        watcher.note(f"{job.name}: {job.says}")
    return SubmitResult(job.name, job.exit_code)


def _require(jobs: Jobs, name: str) -> Job:
    try:
        job = jobs.job(name)
    except ConnectionError as error:
        raise YolabError(f"The cluster at {jobs.address} can't be asked: {error}") from None
    if job is None:
        known = jobs.names()
        there = f" It knows {', '.join(sorted(known))}." if known else ""
        raise UsageError(f"The cluster at {jobs.address} knows no job {name}.{did_you_mean(name, known)}{there}")
    return job


def _insist(begin: Callable[[], str]) -> str:
    """Begin a job on a cluster that comes back: it answers before it takes any."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return begin()
        except YolabError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_SECONDS)


def _variables(words: Sequence[str], files: Sequence[Path]) -> dict[str, str]:
    """Return what the command has to find in its environment. Raises UsageError if there is a password in it, in the
    words or in the files."""
    found = {name: os.environ[name] for name in _PASSED_ON if os.environ.get(name)}
    given = {f"the argument {shlex.quote(without_password(word))}": word for word in words}
    of_files = {str(file): file.read_text(errors="replace") for file in files if file.suffix in _YAML}
    for what, text in {**found, **given, **of_files}.items():
        if without_password(text) != text:
            raise UsageError(
                f"There is a password in {what}, and whoever reaches the cluster reads what a job is given: leave it "
                "out, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD where the nodes are started."
            )
    storage = _storage_in(words) or found.get("YOLAB_STORAGE", "")
    if not is_remote(storage) and not Path(storage).is_absolute():
        raise UsageError(
            "Say where the cluster keeps the runs: YOLAB_STORAGE=s3://BUCKET/PREFIX, or a folder that all its nodes "
            "share, from / on."
        )
    file = sqlite_file(found.get("MLFLOW_TRACKING_URI", ""))
    if file and not file.is_absolute():
        raise UsageError("MLFLOW_TRACKING_URI names a file of this folder, which the cluster doesn't have.")
    return found


def _storage_in(words: Sequence[str]) -> str | None:
    for word, following in zip(words, [*words[1:], ""]):
        if word == "--storage":
            return following
        if word.startswith("--storage="):
            return word.partition("=")[2]
    return None


def _files_of(words: Sequence[str]) -> list[Path]:
    """Return the files that words name, and those that they extend, from this folder. Raises UsageError for what is
    outside of it."""
    named = {Path(part) for word in words for part in (word, word.partition("=")[2])}
    found: dict[Path, None] = {}
    for path in sorted(path for path in named if not path.is_absolute() and path.is_file()):
        found |= dict.fromkeys(with_extended(path) if path.suffix in _YAML else [path])
    plain = [Path(os.path.normpath(path)) for path in found]
    for path in plain:
        if path.is_absolute() or path.parts[0] == "..":
            raise UsageError(f"{path} is outside of this folder, and can't go along: submit from a folder above it.")
    return plain


def _copied(files: Sequence[Path], folder: Path) -> Path | None:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / file)
    return folder if files else None
