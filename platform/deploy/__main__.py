"""make deploy: write the files from lab.yaml, or another description, which is the first argument."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from deploy import kuberay, ray_up, slurm
from deploy.description import Lab, read

HERE = Path(__file__).parent
_COMMENT = "# Made from {} by `make deploy`.\n"


def _as_yaml(make: Callable[[Lab], dict[str, Any]]) -> Callable[[Lab], str]:
    return lambda lab: _COMMENT.format("lab.yaml") + yaml.safe_dump(make(lab), sort_keys=False, width=120)


FILES: dict[str, Callable[[Lab], str]] = {
    "kuberay-cluster.yaml": _as_yaml(kuberay.ray_cluster),
    "kuberay-job.yaml": _as_yaml(kuberay.ray_job),
    "ray-up-aws.yaml": _as_yaml(ray_up.aws),
    "ray-up-machines.yaml": _as_yaml(ray_up.machines),
    "slurm.sh": slurm.script,
}


def main(description: Path) -> None:
    try:
        lab = read(description)
    except (OSError, ValidationError, yaml.YAMLError) as error:
        print(f"error: {description} describes no cluster: {error}", file=sys.stderr)
        sys.exit(2)
    for name, text in FILES.items():
        (HERE / name).write_text(text(lab))
        print(HERE / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "lab.yaml")
