"""A cluster of two nodes with addresses of their own, each in a network namespace, on a host whose name means itself,
as Debian has it. The second has a folder that the first doesn't share with it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import tiny_set
from tests.acceptance.servers import BUCKET_KEYS, mlflow_server, s3_server
from yolab.experiment import build

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="namespaces need root and iproute2"),
]

MLFLOW_PORT, S3_PORT = 5000, 5001
HEAD, OTHER = "10.231.77.1", "10.231.77.2"
NODES = {"yolab-head": HEAD, "yolab-other": OTHER}
BRIDGE, CABLES = "yolab-bridge", ("yolab-0", "yolab-1")
RAY = [
    str(Path(sys.executable).with_name("ray")),
    "start",
    "--block",
    "--num-cpus=1",
    "--object-store-memory=100000000",
]


def ip(*words: str, check: bool = True) -> str:
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    ip("link", "add", BRIDGE, "type", "bridge")
    try:
        ip("link", "set", BRIDGE, "up")
        for cable, (name, address) in zip(CABLES, NODES.items()):
            ip("netns", "add", name)
            ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", cable, "master", BRIDGE, "up")
            ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                ip("-n", name, "link", "set", device, "up")
        yield
    finally:
        for name in NODES:
            for process in ip("netns", "pids", name, check=False).split():
                os.kill(int(process), signal.SIGKILL)
            ip("netns", "delete", name, check=False)
        for device in (*CABLES, BRIDGE):  # a namespace, and its cable with it, lives as long as its last process
            ip("link", "delete", device, check=False)


@pytest.fixture(scope="module")
def cluster(network: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """The environment of a driver on the head, and a folder of which the other node sees nothing."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "token").write_text("of this test alone, long enough")
    (folder / "own").mkdir()
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    environment |= {**BUCKET_KEYS, "AWS_ENDPOINT_URL": f"http://{HEAD}:{S3_PORT}"}
    address = f"{HEAD}:6379"
    head = [*RAY, "--head", "--port=6379", f"--node-ip-address={HEAD}", "--include-dashboard=false"]
    other = [*RAY, f"--address={address}", f"--node-ip-address={OTHER}"]
    hiding = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder / "own")]
    begin(head, "yolab-head", environment)
    wait_for_nodes(1, address, environment)
    begin([*hiding, *other], "yolab-other", environment)
    wait_for_nodes(2, address, environment)
    return environment | {"RAY_ADDRESS": address}, folder / "own"


def begin(command: list[str], node: str, environment: dict[str, str]) -> None:
    """Start a command on a node; the network's end ends it."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.Popen(["ip", "netns", "exec", node, *command], env=environment, start_new_session=True, **quiet)


def wait_for_nodes(count: int, address: str, environment: dict[str, str]) -> None:
    look = f"import ray; ray.init({address!r}, logging_level='ERROR'); print(sum(n['Alive'] for n in ray.nodes()))"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(2)
        done = on_head([sys.executable, "-c", look], Path(), environment)
        if done.stdout.split()[-1:] == [str(count)]:
            return
    raise AssertionError(f"the cluster has no {count} nodes: {done.stderr}")


def on_head(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    words = ["ip", "netns", "exec", "yolab-head", *command]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def command(small_set: Path, tmp_path: Path) -> list[str]:
    described = build({}, tiny_set.experiment(small_set, recipe__epochs=1, compute__workers=2), "test").model_dump()
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(described))
    return [sys.executable, "-m", "yolab.cli", "train", "tiny.yaml"]


def test_workers_on_two_nodes_find_each_other(cluster, command, tmp_path):
    done = on_head([*command, "compute.precision=auto"], tmp_path, cluster[0])
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "tiny"
    assert (run / "weights.safetensors").exists()
    assert yaml.safe_load((run / "experiment.yaml").read_text())["compute"]["precision"] in ("bf16", "fp32")


def test_nodes_that_share_no_folder_for_runs_train_into_a_bucket(cluster, command, tmp_path):
    environment, own = cluster
    within = ["ip", "netns", "exec", "yolab-head"]
    with (
        s3_server(tmp_path, S3_PORT, HEAD, within),
        mlflow_server(tmp_path, MLFLOW_PORT, HEAD, within) as mlflow,
    ):
        told = environment | {"YOLAB_STORAGE": "s3://lab/runs", "MLFLOW_TRACKING_URI": mlflow}
        own.joinpath("elsewhere").mkdir()  # from where the driver works; the other node has no such folder
        tiny = shutil.copy(tmp_path / "tiny.yaml", own / "elsewhere")
        trained = on_head([*command[:4], tiny, "--json"], own / "elsewhere", told)
        assert trained.returncode == 0, trained.stderr
        assert json.loads(trained.stdout)["weights"] == "s3://lab/runs/tiny/weights.safetensors"
        logs = on_head([*command[:3], "logs", "tiny"], tmp_path, told)
        assert "epoch 1" in logs.stdout, logs.stderr
        promoted = on_head([*command[:3], "promote", "tiny", "--model", "tiny", "--min-ap50", "0"], tmp_path, told)
        assert promoted.returncode == 0, promoted.stderr
    assert {path.name for path in (own / "elsewhere").iterdir()} == {"tiny.yaml"}


@pytest.mark.parametrize(("verb", "unshared"), [("train", "runs"), ("train", "data"), ("sweep", "runs")])
def test_a_node_that_does_not_reach_the_runs_or_the_data_is_named(
    verb, unshared, cluster, command, small_set, tmp_path
):
    environment, own = cluster
    shutil.copytree(small_set, own / "data", dirs_exist_ok=True)
    words = {"runs": ["--storage", str(own / "runs")], "data": [f"data.path={own / 'data'}"]}[unshared]
    if verb == "sweep":
        words += ["compute.workers=1", "--trials", "1", "--name", "searched"]
    done = on_head([word.replace("train", verb) for word in command] + words, tmp_path, environment)
    assert done.returncode == 1, done.stderr
    assert f"The node {OTHER} doesn't reach {own / unshared}" in done.stderr
    assert "Traceback" not in done.stderr
