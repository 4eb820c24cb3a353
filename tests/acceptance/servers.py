"""Real servers for tests: MLflow's and one that speaks S3, on this machine or in a network namespace of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BUCKET_KEYS = {
    "AWS_ACCESS_KEY_ID": "of-tests",
    "AWS_SECRET_ACCESS_KEY": "of-tests",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextmanager
def mlflow_server(home: Path, port: int, host: str = "127.0.0.1", within: Sequence[str] = ()) -> Iterator[str]:
    """Give the address of a real server over SQLite; `within`: what puts a command into a namespace."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", str(home / "artifacts")]
    with _server([*within, *command, *stores, "--allowed-hosts", f"{host}:*,localhost:*"], home) as server:
        _wait_until_answered(f"http://{host}:{port}/health", server, within)
        yield f"http://{host}:{port}"


@contextmanager
def s3_server(home: Path, port: int, host: str = "127.0.0.1", within: Sequence[str] = ()) -> Iterator[str]:
    """Give the address of a server that speaks S3, with an empty bucket `lab`."""
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", host, "-p", str(port)]
    with _server([*within, *command], home) as server:
        address = f"http://{host}:{port}"
        _wait_until_answered(f"{address}/moto-api/", server, within)
        made = "import boto3; boto3.client('s3').create_bucket(Bucket='lab')"
        environment = {**os.environ, **BUCKET_KEYS, "AWS_ENDPOINT_URL": address}
        subprocess.run([*within, sys.executable, "-c", made], check=True, env=environment)
        yield address


@contextmanager
def _server(command: Sequence[str], home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command that serves; it is killed with all its processes."""
    with (home / "server.log").open("ab") as log:
        server = subprocess.Popen(command, cwd=home, stdout=log, stderr=log, start_new_session=True)
    try:
        yield server
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait_until_answered(url: str, server: subprocess.Popen[bytes], within: Sequence[str]) -> None:
    look = f"import urllib.request; urllib.request.urlopen({url!r}, timeout=2).close()"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended"
        if subprocess.run([*within, sys.executable, "-c", look], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.2)
    raise TimeoutError(url)
