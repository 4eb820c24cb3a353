"""Every query of the dashboards, asked of a Prometheus that has heard of a real run and a real sweep."""

import json
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import tiny_set
from tests.acceptance.conftest import REPOSITORY
from tests.acceptance.lab import YOLAB
from tests.acceptance.nodes import ISOLATED, OUTSIDE, cluster
from tests.acceptance.servers import prometheus_server
from yolab.experiment import build

PORT = 9090
NO_GPU = ("ray_yolab_gpu_memory_bytes", "ray_node_gpus_utilization")  # what only a machine with GPUs has
BOARDS = sorted((REPOSITORY / "dashboards" / "grafana").glob("*.json"))
pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not ISOLATED, reason="namespaces need root and iproute2"),
]


def expressions(board: Path) -> dict[str, str]:
    """Return the queries of a dashboard for the run `tiny` and the sweep `search`, by the titles of their panels."""
    found = {}
    for panel in json.loads(board.read_text())["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$run", "tiny").replace("$sweep", "search")
            found[f"{board.stem}, {panel['title']}, {target['refId']}"] = expression
    return found


def answer(expression: str, started: float) -> list[Any]:
    words = {"query": expression, "start": started, "end": time.time(), "step": 1}
    url = f"http://{OUTSIDE}:{PORT}/api/v1/query_range?{urllib.parse.urlencode(words)}"
    with urllib.request.urlopen(url) as told:
        found: list[Any] = json.load(told)["data"]["result"]
    return [series for series in found if any(value != "NaN" for _, value in series["values"])]


def test_every_panel_has_values_of_a_real_run_and_a_real_sweep(small_set: Path, tmp_path: Path) -> None:
    described = build({}, tiny_set.experiment(small_set, recipe__epochs=12, recipe__evaluate_every=2), "test")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(described.model_dump()))
    (tmp_path / "space.yaml").write_text("assigner.top_k: {randint: [5, 16]}\n")
    with cluster(tmp_path, 2) as nodes:
        look = "import ray; ray.init(logging_level='ERROR'); "
        look += "print('found', *(n['NodeManagerAddress'] + ':' + str(n['MetricsExportPort']) for n in ray.nodes()))"
        told = nodes.run([YOLAB[0], "-c", look], tmp_path).stdout
        started = time.time()
        with prometheus_server(tmp_path, PORT, told.partition("found")[2].split(), OUTSIDE):
            for words in (
                ("train", "tiny.yaml", "compute.workers=2"),
                ("sweep", "tiny.yaml", "--space", "space.yaml", "--name", "search", "--trials", "2"),
            ):
                done = nodes.run([*YOLAB, *words], tmp_path)
                assert done.returncode == 0, done.stderr
            asked = {title: each for board in BOARDS for title, each in expressions(board).items()}
            empty = [
                title
                for title, each in asked.items()
                if not any(n in each for n in NO_GPU) and not answer(each, started)
            ]
    assert len(asked) > 20
    assert empty == []
