import time
from pathlib import Path

import pytest

from yolab.errors import UsageError, YolabError
from yolab.storage import Folder
from yolab.tracking import mlflow_runs
from yolab.tracking.mlflow_uri import absolute, database_is_missing, default_uri, without_password


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://server:5000", "http://server:5000"),
        ("http://user:secret@server:5000/path", "http://server:5000/path"),
        ("http://user:s@ecret@server", "http://server"),
        ("http://user:s/ecret@server", "http://server"),
        ("http://user:s/e@c/ret@server", "http://server"),
        ("postgresql+psycopg2://user:secret@server/db", "postgresql+psycopg2://server/db"),
        ("postgresql://server/db?user=me&password=secret&x=1", "postgresql://server/db?user=me&password=…&x=1"),
        ("sqlite:////a/b@c/mlflow.db", "sqlite:////a/b@c/mlflow.db"),
        ("auto", "auto"),
    ],
)
def test_no_password_is_shown(uri: str, shown: str) -> None:
    assert without_password(uri) == shown


@pytest.mark.parametrize("password", ["s@ecret", "s/ecret", "s/e@cret"])
def test_a_password_that_others_would_misread_is_refused_with_the_way_to_write_it(password: str) -> None:
    with pytest.raises(UsageError, match=r"http://server.*%40") as caught:
        absolute(f"http://user:{password}@server")
    assert "cret" not in str(caught.value)


def test_a_password_in_what_mlflow_says_is_not_shown() -> None:
    for password in ("secret%40", "secret@"):
        with pytest.raises(YolabError) as caught, mlflow_runs.in_words("http://user:secret%40@server"):
            raise OSError(f"can't log in with {password}")
        assert "secret" not in str(caught.value)


def test_the_options_of_a_database_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("sqlite:///mlflow.db?timeout=30") == f"sqlite:///{tmp_path}/mlflow.db?timeout=30"
    assert database_is_missing("sqlite:///mlflow.db?timeout=30")
    (tmp_path / "mlflow.db").touch()
    assert not database_is_missing("sqlite:///mlflow.db?timeout=30")


def test_a_storage_whose_path_would_be_read_as_options_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UsageError, match=r"because of the \?"):
        default_uri(Folder(Path("/what?/runs")))


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_who_is_away_is_told_at_once(away_uri: str, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    start = time.monotonic()
    with pytest.raises(YolabError, match="can't be used"):
        mlflow_runs.check_answers(away_uri.replace("http", scheme))
    assert time.monotonic() - start < 2
