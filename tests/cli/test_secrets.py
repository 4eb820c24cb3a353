"""Secrets that are planted wherever users have them, and looked for wherever yolab writes."""

import os
import socket
from pathlib import Path
from urllib.parse import unquote

import boto3
import pytest
import yaml

from tests import tiny_set
from tests.acceptance.servers import mlflow_server
from tests.cli.conftest import Yolab
from yolab.experiment import build

PASSWORD = "correct%2Fhorse"  # as a URI has it
SECRETS = (PASSWORD, unquote(PASSWORD), "battery-of-s3", "staple-of-ray")
COMMANDS = (
    ("train", "tiny.yaml", "--on-end", "cat > ended.json"),
    ("train", "tiny.yaml", "recipe.optimiser.lr=1e30", "name=diverges", "--on-end", "cat > failed.json"),
    ("train", "tiny.yaml", "--resume", "--json"),
    ("logs", "tiny"),
    ("runs",),
    ("compare", "tiny", "diverges"),
    ("promote", "tiny", "--model", "tiny", "--min-ap50", "0"),
    ("evaluate", "--weights", "tiny"),
    ("doctor", "--json"),
    ("gc",),
    ("runs", "rm", "diverges"),
    ("train", "tiny.yaml", f"tracking.uri=http://user:{PASSWORD}@nowhere:bad"),
    ("train", "tiny.yaml", f"tracking.nonsense=http://user:{PASSWORD}@nowhere"),
)


def test_no_secret_gets_into_what_is_written_or_said(
    yolab: Yolab, small_set: Path, s3: str, mlflow_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"http://user:{PASSWORD}@127.0.0.1:{port}"
    described = build({}, tiny_set.experiment(small_set, recipe__epochs=1, tracking__uri=uri), "test").model_dump()
    planted = tmp_path / "tiny.yaml"
    planted.write_text(yaml.safe_dump(described))
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "AWS_SECRET_ACCESS_KEY": "battery-of-s3",
        "RAY_AUTH_TOKEN": "staple-of-ray",
        "YOLAB_STORAGE": f"{s3}/runs",
        "MLFLOW_TRACKING_URI": uri,
    }.items():
        monkeypatch.setenv(name, value)
    with mlflow_server(tmp_path, port, store=mlflow_uri) as server:
        said = {words: yolab(*words) for words in COMMANDS}
        server.stop()
        said |= {("away", *words): yolab(*words) for words in COMMANDS[:1]}
    told = {" ".join(words).replace(PASSWORD, "…"): (each.out + each.err).encode() for words, each in said.items()}
    codes = {words[0]: said[words].code for words in COMMANDS[2:9]}
    worked = dict.fromkeys(("train", "logs", "runs", "promote", "evaluate", "doctor"), 0)
    assert codes == {**worked, "compare": 2}  # there are no scores of the run that diverges
    assert said[COMMANDS[1]].code == 1
    folders = [tmp_path, Path(os.environ["XDG_CACHE_HOME"])]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path != planted]
    written = {str(path): path.read_bytes() for path in files}
    bucket = boto3.resource("s3").Bucket(s3.removeprefix("s3://"))
    written |= {item.key: item.get()["Body"].read() for item in bucket.objects.all()}
    for expected in ("tiny/weights.safetensors", "log.txt/000000", "ended.json", "failed.json", "mlflow.db"):
        assert any(name.endswith(expected) for name in written), expected
    everything = written | told
    found = [(place, secret) for place, text in everything.items() for secret in SECRETS if secret.encode() in text]
    assert found == []
