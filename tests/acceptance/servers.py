"""Real servers for tests, on this machine: MLflow's, PostgreSQL, and one that speaks S3."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

BUCKET_KEYS = {
    "AWS_ACCESS_KEY_ID": "of-tests",
    "AWS_SECRET_ACCESS_KEY": "of-tests",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Server:
    """A command that serves, with all its processes, once `answers` returns True."""

    def __init__(self, command: Sequence[str], home: Path, answers: Callable[[], bool]) -> None:
        self._command, self._home, self.answers = command, home, answers
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers."""
        with (self._home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._home, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 120
        while not self.answers():
            assert self._process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server doesn't answer"
            time.sleep(0.2)

    def stop(self) -> None:
        """Kill it with all its processes."""
        if self._process:
            with suppress(ProcessLookupError):  # it has ended itself
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def runs(self) -> bool:
        return self._process is not None


@contextmanager
def _running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def mlflow_server(home: Path, port: int, host: str = "127.0.0.1", store: str | None = None) -> Iterator[Server]:
    """Give a real server at that port, over SQLite if no other store is named."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", store or f"sqlite:///{home}/mlflow.db"]
    stores += ["--artifacts-destination", str(home / "artifacts"), "--allowed-hosts", f"{host}:*,localhost:*"]
    with _running(Server([*command, *stores], home, _answers_http(f"http://{host}:{port}/health"))) as server:
        yield server


@contextmanager
def s3_server(home: Path, port: int, host: str = "127.0.0.1") -> Iterator[Server]:
    """Give a server that speaks S3 at that port, with an empty bucket `lab`."""
    command = [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)]
    address = f"http://{host}:{port}"
    with _running(Server(command, home, _answers_http(f"{address}/moto-api/"))) as server:
        made = "import boto3; boto3.client('s3').create_bucket(Bucket='lab')"
        environment = {**os.environ, **BUCKET_KEYS, "AWS_ENDPOINT_URL": address}
        subprocess.run([sys.executable, "-c", made], check=True, env=environment)
        yield server


@contextmanager
def prometheus_server(home: Path, port: int, targets: Sequence[str], host: str = "127.0.0.1") -> Iterator[Server]:
    """Give a Prometheus that asks the targets, host:port, every second. Raises FileNotFoundError if there is none."""
    program = shutil.which("prometheus")
    if program is None:
        raise FileNotFoundError("prometheus")
    asked = {"job_name": "ray", "static_configs": [{"targets": list(targets)}]}
    (home / "prometheus.yml").write_text(
        yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": [asked]})
    )
    command = [program, f"--config.file={home / 'prometheus.yml'}", f"--storage.tsdb.path={home / 'prometheus'}"]
    command.append(f"--web.listen-address={host}:{port}")
    with _running(Server(command, home, _answers_http(f"http://{host}:{port}/-/ready"))) as server:
        yield server


@contextmanager
def postgres_server() -> Iterator[tuple[Server, str]]:
    """Give a PostgreSQL, and the address by which MLflow keeps its store in it."""
    # it refuses to run as root, and a user of its own needs a folder that it reaches
    own = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    home = Path(tempfile.mkdtemp())
    if own:
        shutil.chown(home, "postgres", "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    data = str(home / "data")
    initialise = [*own, _of_postgres("initdb"), "--pgdata", data, "--username=yolab", "--auth=trust"]
    subprocess.run(initialise, check=True, capture_output=True, cwd=home)
    ready = [_of_postgres("pg_isready"), "--host=127.0.0.1", f"--port={port}"]
    command = [*own, _of_postgres("postgres"), "-D", data, "-h", "127.0.0.1", "-p", port, "-k", str(home)]
    answers = lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0  # noqa: E731
    try:
        with _running(Server(command, home, answers)) as server:
            yield server, f"postgresql+psycopg://yolab@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _of_postgres(program: str) -> str:
    """Return where a program of PostgreSQL is; Debian has those of the server in no PATH."""
    return shutil.which(program) or str(max(Path("/usr/lib/postgresql").glob(f"*/bin/{program}")))


def _answers_http(url: str) -> Callable[[], bool]:
    def answers() -> bool:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except OSError:
            return False
        return True

    return answers
