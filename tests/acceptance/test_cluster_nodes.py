"""A cluster of two nodes with addresses of their own, each in a network namespace, on a host whose name means itself,
as Debian has it. The second has a folder that the first doesn't share with it."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import tiny_set
from tests.acceptance.nodes import ISOLATED, MLFLOW_PORT, OUTSIDE, S3_PORT, Nodes, cluster, end
from tests.acceptance.servers import mlflow_server, s3_server
from yolab.experiment import build

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not ISOLATED, reason="namespaces need root and iproute2"),
]


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with cluster(tmp_path_factory.mktemp("cluster"), 2) as nodes:
        yield nodes


@pytest.fixture
def command(small_set: Path, tmp_path: Path) -> list[str]:
    described = build({}, tiny_set.experiment(small_set, recipe__epochs=1, compute__workers=2), "test").model_dump()
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(described))
    return [sys.executable, "-m", "yolab.cli", "train", "tiny.yaml"]


def test_on_a_cluster_that_is_full_it_is_said_what_is_waited_for(two_nodes, command, tmp_path):
    hog = "import ray, time; ray.init(); ray.get([ray.remote(num_cpus=1)(time.sleep).remote(600) for _ in range(2)])"
    full = two_nodes.start([sys.executable, "-c", hog], tmp_path)
    waits = two_nodes.start(command, tmp_path)
    try:
        assert waits.stderr
        told = next(line for line in waits.stderr if line.startswith("Waiting"))
    finally:
        end(waits)
        end(full)
    assert told.startswith("Waiting for room for 2 workers of 1 CPUs and 0 GPUs: 0 CPUs, 0 GPUs on 2 nodes are free")


def test_the_doctor_asks_each_node(two_nodes, tmp_path):
    own = two_nodes.own / "runs"
    own.mkdir(exist_ok=True)
    done = two_nodes.run([sys.executable, "-m", "yolab.cli", "doctor", "--cluster", "--json", "--storage", str(own)],
                         tmp_path, MLFLOW_TRACKING_URI=f"http://user:hidden@{OUTSIDE}:9")  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "hidden" not in done.stdout + done.stderr
    found = {check["what"]: check for check in json.loads(done.stdout)["checks"]}
    for node in (0, 1):
        seen = found[f"node {two_nodes.address(node)}"]
        assert not seen["ok"]
        assert "MLflow" in seen["value"]
        assert (str(own) in seen["value"]) == (node == 1)
    assert found["token"]["ok"]
    assert "everybody in the network reads those of 2 nodes" in found["metrics"]["value"]


def test_nodes_that_share_no_folder_train_from_a_bucket_into_one(two_nodes, command, small_set, tmp_path):
    own = two_nodes.own
    with s3_server(tmp_path, S3_PORT, OUTSIDE), mlflow_server(tmp_path, MLFLOW_PORT, OUTSIDE):
        told = {"YOLAB_STORAGE": "s3://lab/runs", "MLFLOW_TRACKING_URI": f"http://{OUTSIDE}:{MLFLOW_PORT}"}
        own.joinpath("elsewhere").mkdir()  # from where the driver works; the other node has no such folder
        tiny = shutil.copy(tmp_path / "tiny.yaml", own / "elsewhere")
        packed = two_nodes.run([*command[:3], "data", "pack", str(small_set), "s3://lab/small"], tmp_path, **told)
        assert packed.returncode == 0, packed.stderr
        train = [*command[:4], tiny, "data.path=s3://lab/small", "compute.precision=auto", "--json"]
        trained = two_nodes.run(train, own / "elsewhere", **told)
        assert trained.returncode == 0, trained.stderr
        assert json.loads(trained.stdout)["weights"] == "s3://lab/runs/tiny/weights.safetensors"
        logs = two_nodes.run([*command[:3], "logs", "tiny"], tmp_path, **told)
        assert "epoch 1" in logs.stdout, logs.stderr
        promoted = two_nodes.run(
            [*command[:3], "promote", "tiny", "--model", "tiny", "--min-ap50", "0"], tmp_path, **told
        )
        assert promoted.returncode == 0, promoted.stderr
    assert {path.name for path in (own / "elsewhere").iterdir()} == {"tiny.yaml"}


@pytest.mark.parametrize(("verb", "unshared"), [("train", "runs"), ("train", "data"), ("sweep", "runs")])
def test_a_node_that_does_not_reach_the_runs_or_the_data_is_named(
    verb, unshared, two_nodes, command, small_set, tmp_path
):
    own = two_nodes.own
    shutil.copytree(small_set, own / "data", dirs_exist_ok=True)
    words = {"runs": ["--storage", str(own / "runs")], "data": [f"data.path={own / 'data'}"]}[unshared]
    if verb == "sweep":
        words += ["compute.workers=1", "--trials", "1", "--name", "searched"]
    done = two_nodes.run([word.replace("train", verb) for word in command] + words, tmp_path)
    assert done.returncode == 1, done.stderr
    assert f"The node {two_nodes.address(1)} doesn't reach {own / unshared}" in done.stderr
    assert "Traceback" not in done.stderr
