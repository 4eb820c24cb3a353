"""What a cluster says of a job, as it is understood; one that runs jobs is in tests/acceptance/test_faults.py."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray.dashboard.modules.job.common import JobErrorType
from ray.job_submission import JobStatus

from yolab.cluster.submission import Jobs, _job, _Told


@pytest.mark.parametrize(
    ("status", "code", "kind", "ended", "exit_code"),
    [
        (JobStatus.PENDING, None, None, False, None),
        (JobStatus.RUNNING, None, None, False, None),
        (JobStatus.SUCCEEDED, 0, None, True, 0),
        (JobStatus.STOPPED, None, None, True, 130),
        (JobStatus.FAILED, 2, JobErrorType.JOB_ENTRYPOINT_COMMAND_ERROR, True, 2),
        (JobStatus.FAILED, -9, JobErrorType.JOB_ENTRYPOINT_COMMAND_ERROR, True, 137),
        (JobStatus.FAILED, None, JobErrorType.JOB_SUPERVISOR_ACTOR_DIED, True, None),  # lost: begun again
        (JobStatus.FAILED, None, JobErrorType.JOB_SUPERVISOR_ACTOR_START_TIMEOUT, True, 1),  # no room for it
        (JobStatus.FAILED, None, JobErrorType.RUNTIME_ENV_SETUP_FAILURE, True, 1),
    ],
)
def test_a_job_is_lost_only_with_the_node_where_it_was(
    status: JobStatus, code: int | None, kind: Any, ended: bool, exit_code: int | None
) -> None:
    details = SimpleNamespace(status=status, driver_exit_code=code, error_type=kind, message=None)
    found = _job("train-1", details)
    assert (found.has_ended, found.exit_code) == (ended, exit_code)


@pytest.mark.parametrize(
    ("said", "is_known"),
    [
        ("Request failed with status code 404: Job train-1 does not exist.", False),
        ("Request failed with status code 500: train-404ab-1 can't be asked, line 404.", None),
    ],
)
def test_only_who_says_that_it_knows_no_such_job_is_believed(said: str, is_known: bool | None) -> None:
    def info(name: str) -> Any:
        raise RuntimeError(said)

    jobs = Jobs.__new__(Jobs)
    jobs._client = SimpleNamespace(get_job_info=info)
    if is_known is None:
        with pytest.raises(ConnectionError):
            jobs.job("train-1")
    else:
        assert jobs.job("train-1") is None


def test_what_comes_again_from_the_beginning_is_heard_once() -> None:
    heard: list[str] = []
    told = _Told(heard.append)
    for pieces in (["one\n", "two\n"], ["one\ntwo\nth", "ree\n"], ["one\n"], ["one\ntwo\nthree\nfour\n"]):
        told.from_the_beginning()
        for piece in pieces:
            told.hear(piece)
    assert "".join(heard) == "one\ntwo\nthree\nfour\n"
