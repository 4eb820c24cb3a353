"""Commands of yolab that a cluster elsewhere runs for us, as jobs of Ray: they live there, whoever listens."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import requests
from ray.dashboard.modules import dashboard_sdk
from ray.dashboard.modules.job import sdk
from ray.dashboard.modules.job.common import JobErrorType
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from yolab.errors import UsageError, YolabError

ADDRESS = "RAY_API_SERVER_ADDRESS"
STOPPED, _FAILED, _KILLED = 130, 1, 128
_ANSWER_SECONDS = 30.0
_SILENCE_SECONDS = 60.0  # without a word of the job, before the connection is made anew
_LOOK_SECONDS = 2.0
_STOP_SECONDS = 600  # that a job has to save its state
_LOST = {JobErrorType.JOB_SUPERVISOR_ACTOR_DIED, JobErrorType.JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE}
_AWAY = (OSError, requests.RequestException, aiohttp.ClientError)
_NO = (RuntimeError, ValueError, AuthenticationError, *_AWAY)


@dataclass(frozen=True)
class Job:
    """One job: whether it `has_ended`; if so, the exit code of its command, None if it was lost with the node where it
    was; and what the cluster says of it."""

    name: str
    has_ended: bool
    exit_code: int | None
    says: str


class Jobs:
    """The jobs of the cluster that RAY_API_SERVER_ADDRESS names."""

    def __init__(self) -> None:
        """Raises UsageError if no cluster is named, or it doesn't take the token; YolabError if it doesn't answer."""
        self.address = os.environ.get(ADDRESS, "")
        if not self.address.startswith(("http://", "https://")):
            raise UsageError(f"Say where the cluster is: {ADDRESS}=http://HEAD:8265, what `ray start --head` prints.")
        for name in ("ray", sdk.__name__, dashboard_sdk.__name__):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            self._client = _Client(self.address)
        except AuthenticationError:
            raise UsageError(
                f"The cluster at {self.address} wants its token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH."
            ) from None
        except _NO as error:
            raise YolabError(f"The cluster at {self.address} can't be used: {_first_line(error)}") from None

    def begin(
        self,
        name: str,
        command: str,
        wheel: Path,
        files: Path | None,
        variables: Mapping[str, str],
        cpus: float | None,
        gpus: float | None,
    ) -> None:
        """Let a shell of the cluster run a command, with our code from the wheel, in a copy of the folder of `files`;
        what it occupies itself is taken from a node that has it, None: it is on the head. Raises YolabError."""
        environment: dict[str, Any] = {
            "py_modules": [str(wheel)],
            "env_vars": {**variables, "RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_SECONDS)},
        }
        if files is not None:
            environment["working_dir"] = str(files)
        try:
            self._client.submit_job(
                entrypoint=command,
                submission_id=name,
                runtime_env=environment,
                entrypoint_num_cpus=cpus,
                entrypoint_num_gpus=gpus,
            )
        except _NO as error:
            raise YolabError(f"The cluster at {self.address} doesn't take the job: {_first_line(error)}") from None

    def names(self) -> list[str]:
        """Return the names of all that the cluster knows. Raises YolabError."""
        try:
            return [each.submission_id for each in self._client.list_jobs() if each.submission_id]
        except _NO as error:
            raise YolabError(f"The cluster at {self.address} can't be asked: {_first_line(error)}") from None

    def job(self, name: str) -> Job | None:
        """Return a job, None if the cluster knows none of that name. Raises OSError if it doesn't answer."""
        try:
            return _job(name, self._client.get_job_info(name))
        except _NO as error:
            if str(error).startswith("Request failed with status code 404:"):
                return None
            raise ConnectionError(_first_line(error)) from None

    def follow(self, name: str, hear: Callable[[str], object], note: Callable[[str], object]) -> Job | None:
        """Let `hear` have what a job prints, from its beginning, until it has ended; return it then, None if the
        cluster doesn't know it any more. A connection that is cut is made anew, of which `note` hears."""
        told = _Told(hear)
        away = False
        while True:
            try:
                asyncio.run(self._listen(name, told))
            except BrokenPipeError:  # nobody hears any more
                raise
            except _NO:
                pass  # the next question tells why
            try:
                job = self.job(name)
            except ConnectionError as error:
                if not away:
                    note(f"The cluster doesn't answer ({error}): {name} is asked for again until it does.")
                away = True
            else:
                if away:
                    note("The cluster answers again.")
                away = False
                if job is None or job.has_ended:
                    return job
            time.sleep(_LOOK_SECONDS)

    def stop(self, name: str) -> None:
        """Tell a job to stop with its state saved; kill it if it hasn't in ten minutes. Raises YolabError."""
        try:
            self._client.stop_job(name)
        except _NO as error:
            raise YolabError(f"{name} can't be stopped: {_first_line(error)}") from None

    async def _listen(self, name: str, told: "_Told") -> None:
        pieces = self._client.tail_job_logs(name)
        told.from_the_beginning()
        while True:
            try:
                told.hear(await asyncio.wait_for(anext(pieces), _SILENCE_SECONDS))
            except (StopAsyncIteration, TimeoutError):
                return


class _Client(JobSubmissionClient):
    """Ray's, which would wait for an answer for ever."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        return super()._do_request(method, endpoint, **{"timeout": _ANSWER_SECONDS} | options)


class _Told:
    """Passes on what of a text is new, which comes from its beginning again and again."""

    def __init__(self, hear: Callable[[str], object]) -> None:
        self._hear = hear
        self._heard = self._read = 0

    def from_the_beginning(self) -> None:
        self._read = 0

    def hear(self, piece: str) -> None:
        self._read += len(piece)
        new = self._read - self._heard
        if new > 0:
            self._hear(piece[-new:])
            self._heard = self._read


def _job(name: str, details: JobDetails) -> Job:
    says = (details.message or "").strip()
    code = details.driver_exit_code
    match details.status:
        case JobStatus.SUCCEEDED:
            return Job(name, True, 0, says)
        case JobStatus.STOPPED:
            return Job(name, True, STOPPED, says)
        case JobStatus.FAILED:
            if code is None:
                return Job(name, True, None if details.error_type in _LOST else _FAILED, says)
            return Job(name, True, code if code >= 0 else _KILLED - code, says)
        case _:
            return Job(name, False, None, says)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
