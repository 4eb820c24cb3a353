"""The rules about which module may import what, held by reading the source of every one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PLATFORM = Path(__file__).parents[1] / "platform"
MODULES = sorted((PLATFORM / "yolab").rglob("*.py"))

# From the lowest to the highest; a module may import its own layer and those below.
LAYERS = (
    {"errors", "memory", "own_wheel", "polling", "signals"},
    {"storage"},
    {"experiment"},
    {"assignment", "losses", "data", "models"},
    {"training", "evaluation"},
    {"preflight"},
    {"search", "tracking"},
    {"cluster", "registry", "reports"},
    {"jobs"},
    {"cli"},
)
ONLY = {"cli": {"cli", "errors", "jobs"}}  # what these parts may import of yolab at all
STRANGERS = {("cluster", "registry"), ("registry", "cluster")}  # one layer, but neither knows the other
EDGES = {
    "ray": ("yolab/cluster/",),
    "mlflow": ("yolab/tracking/", "yolab/registry/"),
    "dvc": ("yolab/tracking/data_version.py",),
    "dvc_data": ("yolab/tracking/data_version.py",),
}
MOST_LINES = 400


def imports(source: str) -> Iterator[str]:
    """Yield the dotted names that a module imports anywhere in it, those of `from a import b` as "a.b"."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def faults(place: str, source: str) -> list[str]:
    """Return what is forbidden in the module at `place`, such as yolab/cli/train.py."""
    found = []
    part = place.removesuffix(".py").split("/")[1]
    for name in imports(source):
        package, *rest = name.split(".")
        if package in EDGES and not place.startswith(EDGES[package]):
            found.append(f"{place} imports {name}: only {' and '.join(EDGES[package])} may")
        if package == "yolab" and rest and part != "__init__":
            if layer(rest[0]) > layer(part):
                found.append(f"{place} imports {name} of a higher layer")
            if rest[0] not in ONLY.get(part, {rest[0]}):
                found.append(f"{place} imports {name}: {part} may import {', '.join(sorted(ONLY[part]))} alone")
            if (part, rest[0]) in STRANGERS:
                found.append(f"{place} imports {name}: {part} and {rest[0]} don't know each other")
    return found


def layer(part: str) -> int:
    [number] = [number for number, parts in enumerate(LAYERS) if part in parts]
    return number


def place_of(module: Path) -> str:
    return module.relative_to(PLATFORM).as_posix()


def test_platform_is_a_source_root_and_hides_no_standard_module() -> None:
    assert not (PLATFORM / "__init__.py").exists()


@pytest.mark.parametrize("module", MODULES, ids=place_of)
def test_imports_point_one_way_and_ray_mlflow_and_dvc_stay_at_their_edges(module: Path) -> None:
    assert faults(place_of(module), module.read_text()) == []


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("yolab/training/loop.py", "import ray"),
        ("yolab/tracking/runs.py", "def f():\n    from ray import tune"),
        ("yolab/cli/train.py", "import mlflow.tracking as m"),
        ("yolab/tracking/runs.py", "from dvc.repo import Repo"),
        ("yolab/models/count.py", "from yolab import losses, preflight"),
        ("yolab/training/loop.py", "if True:\n    import yolab.tracking.runs"),
        ("yolab/registry/promote.py", "from yolab.cluster.connect import capacity"),
    ],
)
def test_a_forbidden_import_is_seen_wherever_it_stands(place: str, source: str) -> None:
    assert len(faults(place, source)) == 1


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("yolab/cluster/train.py", "from ray import train"),
        ("yolab/training/loop.py", "from yolab.evaluation import detect\nfrom yolab.errors import YolabError"),
        ("yolab/models/count.py", "from yolab import experiment"),
    ],
)
def test_an_allowed_import_is_no_fault(place: str, source: str) -> None:
    assert faults(place, source) == []


def test_the_training_loop_names_neither_ray_nor_mlflow() -> None:
    source = (PLATFORM / "yolab" / "training" / "loop.py").read_text()
    assert re.findall(r"\b(?:ray|mlflow)\b", source, re.IGNORECASE) == []


@pytest.mark.parametrize("module", MODULES, ids=place_of)
def test_a_module_fits_on_a_few_screens(module: Path) -> None:
    assert len(module.read_text().splitlines()) < MOST_LINES
