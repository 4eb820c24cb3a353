"""An installed yolab: the wheel in an environment of its own, as somebody has it who never saw the repository."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SOURCES = ("platform", "pipelines", "search_spaces", "pyproject.toml", "README.md", "LICENSE")
_OURS = ("PYTHONPATH", "VIRTUAL_ENV", "RAY_ADDRESS", "MLFLOW_TRACKING_URI", "YOLAB_STORAGE")

Installed = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that nothing of an earlier build gets in."""
    source = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("*.egg-info", "__pycache__")
    for name in SOURCES:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(REPOSITORY / name, source / name)
    built = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*pip, str(built), str(source)], check=True, env=clean_environment())
    [wheel] = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Runs the installed `yolab` in a folder; everything that it needs is from the lock, as `make setup` has it."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile"]
    # pip keeps what `make setup` has downloaded; without compiling it takes half the time, and 7 GB while it lasts
    lock = ["--require-hashes", "-r", str(REPOSITORY / "requirements.lock")]
    subprocess.run([*pip, *lock], check=True, env=clean_environment())
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True, env=clean_environment())
    program = place / "bin" / "yolab"

    def yolab(
        *arguments: str | Path, folder: Path, seconds: float = 120, environment: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(program), *map(str, arguments)],
            cwd=folder,
            env=clean_environment() | {"RAY_USAGE_STATS_ENABLED": "0", "DVC_NO_ANALYTICS": "1"} | (environment or {}),
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    yield yolab
    shutil.rmtree(place)


def clean_environment() -> dict[str, str]:
    """Return the environment without what leads to the repository, or to services of this machine."""
    return {name: value for name, value in os.environ.items() if name not in _OURS}
