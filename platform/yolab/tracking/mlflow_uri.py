"""MLflow's address: which one counts, how it may be shown, and whether anybody is there."""

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from yolab.errors import UsageError
from yolab.experiment import Experiment
from yolab.storage import Folder, Storage

SQLITE = "sqlite:///"
KNOCK_SECONDS = 5.0
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_USER = re.compile(r"(?<=://)(?!/)\S*@")  # up to the last @, which a password may hold, too
_PASSWORD_IN_QUERY = re.compile(r"(?<=[?&]password=)[^&\s]*")


def tracking_uri(experiment: Experiment, default: Callable[[], str]) -> str:
    """Return the MLflow URI of an experiment: its own, else the default. The folder of an SQLite file is made. Raises
    UsageError."""
    configured = experiment.tracking.uri
    uri = default() if configured == "auto" else absolute(configured)
    file = sqlite_file(uri)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
    return uri


def default_uri(storage: Storage) -> str:
    """Return the MLflow URI of MLFLOW_TRACKING_URI, else that of an SQLite file in the storage. Raises UsageError."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    if given:
        return absolute(given)
    if not isinstance(storage, Folder):
        raise UsageError(f"MLflow's file can't be in {storage}: set MLFLOW_TRACKING_URI to a server's address.")
    if "?" in str(storage):
        raise UsageError(f"MLflow's file can't be in {storage}, because of the ?: name another --storage.")
    return absolute(f"{SQLITE}{storage}/mlflow.db")


def absolute(uri: str) -> str:
    """Return a URI with the path of an SQLite file made absolute, because workers change directory. Raises UsageError
    if others would read another host out of it than is meant."""
    user = _USER.search(uri)
    if user and re.search("[/@]", user[0][:-1].partition(":")[2]):
        shown = without_password(uri)
        raise UsageError(f"MLflow's URI {shown} can't be read: in its password write %40 for @ and %2F for /.")
    file = sqlite_file(uri)
    if file is None:
        return uri
    _, mark, options = uri.partition("?")
    return f"{SQLITE}{file.resolve()}{mark}{options}"


def sqlite_file(uri: str) -> Path | None:
    """Return the file of an SQLite URI, which may have options (`?timeout=30`); None for a server."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0]) if uri.startswith(SQLITE) else None


def database_is_missing(uri: str) -> bool:
    """Return whether the URI names an SQLite file that isn't there yet: asking MLflow would make it, in ten seconds."""
    file = sqlite_file(uri)
    return file is not None and not file.exists()


def without_password(uri: str) -> str:
    """Return the URI as it may be shown."""
    return _PASSWORD_IN_QUERY.sub("…", _USER.sub("", uri))


def without_password_of(uri: str, text: str) -> str:
    """Return a text about a URI as it may be shown."""
    password = urlsplit(uri).password
    shown = text.replace(uri, without_password(uri))
    for secret in {password, unquote(password)} if password else ():
        shown = shown.replace(secret, "…")
    return shown


def knock(uri: str) -> None:
    """Return if something answers at the URI within seconds; MLflow itself would try for minutes. Raises
    MlflowException or OSError."""
    scheme = urlsplit(uri).scheme
    database = scheme.partition("+")[0]
    if scheme in ("http", "https"):
        creds = get_default_host_creds(uri)
        http_request(creds, "/health", "GET", max_retries=0, timeout=KNOCK_SECONDS, raise_on_status=False)
    elif database in _DATABASE_PORTS:
        place = urlsplit(uri)
        address = (place.hostname or "localhost", place.port or _DATABASE_PORTS[database])
        socket.create_connection(address, KNOCK_SECONDS).close()
