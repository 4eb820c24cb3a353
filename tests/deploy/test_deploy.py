"""The files that start a cluster are what lab.yaml says, and say nothing that those who read them don't know."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts import scripts
from ray.scripts.symmetric_run import symmetric_run

import deploy
from deploy import kuberay, ray_up
from deploy.__main__ import FILES
from deploy.description import Lab, read
from deploy.slurm import Sbatch

FOLDER = Path(deploy.__file__).parent
REPOSITORY = FOLDER.parents[1]
LAB = read(FOLDER / "lab.yaml")
# the fields of KubeRay's definitions (ray-operator/config/crd/bases), and of Kubernetes' in them
KUBERAY = json.loads(Path(__file__).with_name("kuberay-1.6.2.json").read_text())
# of sbatch's manual
SBATCH = {
    *(
        "array",
        "begin",
        "chdir",
        "constraint",
        "cpus-per-task",
        "dependency",
        "error",
        "exclude",
        "exclusive",
        "export",
    ),
    *("gpus", "gpus-per-node", "gpus-per-task", "gres", "job-name", "mem", "nodelist", "nodes", "ntasks"),
    *("ntasks-per-node", "open-mode", "output", "partition", "qos", "requeue", "reservation", "signal", "time"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_what_the_description_makes(name: str) -> None:
    assert (FOLDER / name).read_text() == FILES[name](LAB), "say `make deploy`"


@pytest.mark.parametrize("part", KUBERAY)
def test_kuberay_knows_each_field(part: str) -> None:
    model: type[BaseModel] = getattr(kuberay, part)
    assert {field.alias for field in model.model_fields.values()} <= set(KUBERAY[part])


def test_each_part_of_a_manifest_is_held_against_the_definitions() -> None:
    parts = {each.__name__ for each in kuberay.Manifest.__subclasses__()}
    assert parts == set(KUBERAY)


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("ray-up")])
def test_ray_up_takes_the_file(name: str) -> None:
    validate_config(prepare_config(yaml.safe_load((FOLDER / name).read_text())))


def test_sbatch_knows_each_option() -> None:
    assert {name.replace("_", "-") for name in Sbatch.model_fields} <= SBATCH


def options_of(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize(
    ("name", "begins", "known"),
    [
        ("ray-up-machines.yaml", "ray start", options_of(scripts.start)),
        ("ray-up-aws.yaml", "ray start", options_of(scripts.start)),
        ("kuberay-job.yaml", "ray drain-node", options_of(scripts.drain_node)),
        ("slurm.sh", "ray symmetric-run", options_of(symmetric_run) | options_of(scripts.start)),
    ],
)
def test_ray_knows_each_option(name: str, begins: str, known: set[str]) -> None:
    told = FILES[name](LAB).replace("\\\n", " ")
    said = [line.partition(begins)[2].partition(" -- ")[0] for line in told.splitlines() if begins in line]
    assert said
    for line in said:
        assert {word.partition("=")[0] for word in re.findall(r"(?<= )--[^ ;]+", line)} <= known


def test_the_script_for_slurm_is_one_that_bash_reads_for_any_command() -> None:
    odd = LAB.model_copy(update={"command": ("yolab", "train", "it's.yaml", "compute.workers={min: 1, max: 2}")})
    for lab in (LAB, odd):
        script = FILES["slurm.sh"](lab)
        assert subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True).stderr == ""
        assert shlex.join(lab.command) in script


def test_what_may_be_begun_again_goes_on_with_what_it_began() -> None:
    assert "--restartable" in LAB.command


def test_the_image_is_from_the_lock_and_its_user_is_not_root() -> None:
    lines = (FOLDER / "Dockerfile").read_text().splitlines()
    assert "RUN pip install --no-cache-dir --require-hashes -r requirements.lock" in lines
    assert [line for line in lines if line.startswith("USER")][-1] == "USER yolab"
    for line in lines:
        if line.startswith("COPY"):
            assert all((REPOSITORY / source).exists() for source in line.split()[1:-1]), line


def test_a_description_of_no_cluster_is_refused_and_nothing_written(tmp_path: Path) -> None:
    before = {name: (FOLDER / name).read_bytes() for name in FILES}
    (tmp_path / "lab.yaml").write_text((FOLDER / "lab.yaml").read_text().replace("cpus: 15", "cpus: many"))
    told = subprocess.run(
        [sys.executable, "-m", "deploy", str(tmp_path / "lab.yaml")],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 2
    assert "pools.0.cpus" in told.stderr
    assert before == {name: (FOLDER / name).read_bytes() for name in FILES}


def test_each_pool_and_variable_is_in_the_manifest() -> None:
    job = kuberay.ray_job(LAB)["spec"]["rayClusterSpec"]
    assert [group["groupName"] for group in job["workerGroupSpecs"]] == [pool.name for pool in LAB.pools]
    for group in (job["headGroupSpec"], *job["workerGroupSpecs"]):
        [container] = group["template"]["spec"]["containers"]
        assert {each["name"]: each["value"] for each in container["env"]} == LAB.variables


def test_nothing_is_left_of_a_lab_without_gpus() -> None:
    plain = Lab.model_validate(LAB.model_dump() | {"pools": [LAB.pools[1].model_dump()]})
    told = "".join(make(plain) for name, make in FILES.items() if name.startswith("kuberay"))
    assert "nvidia" not in told
    assert all(
        set(kind["resources"]) <= {"CPU", "trial"} for kind in ray_up.aws(plain)["available_node_types"].values()
    )
