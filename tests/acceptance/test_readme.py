"""What the README tells to type exists; and what needs neither a download, nor a cluster, nor long, works."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from tests.acceptance.conftest import REPOSITORY, Installed
from yolab.cli.main import app

README = (REPOSITORY / "README.md").read_text()

# What isn't run, by a part of the command, and why. What stands in the README runs unless it is named here.
SKIPPED = {
    "compute.workers=8": "needs a cluster; test_faults.py",
    "compute.workers={min": "needs a cluster; test_elastic.py",
    "data import": "needs a data set in another layout; tests/data/test_formats.py",
    "data split": "needs a data set in one piece; tests/data/test_split.py",
    "name=shapes": "takes minutes; tests/training/transfer.py",
    "runs/shapes": "needs that run",
    "s3://BUCKET/data": "needs a bucket; test_guide.py",
    "data/coco": "needs COCO",
    "path/to/coco": "needs COCO",
    "--budget short": "needs COCO",
    "data/bccd": "needs BCCD",
    "yolov7.pt": "needs a published checkpoint; tests/models/test_published_checkpoints.py",
    "yolov7.safetensors": "needs a published checkpoint",
    "yolab sweep": "takes minutes; test_wheel.py runs a small one",
    "mine-scaling": "needs that sweep",
    "models:/": "needs a promoted model; make demo",
    "yolab ablate table3": "takes minutes",
    "compare RUN OTHER": "needs runs with several seeds; tests/cli/test_compare.py",
    "--plot": "counts 25 models, two minutes; tests/cli/test_models.py",
    "runs rm": "needs runs to remove; tests/cli/test_runs.py",
    "yolab ui": "ends with Ctrl-C; tests/cli/test_ui.py",
}
# What is added so that a command takes seconds
SHORTER = {
    "yolab train mine.yaml recipe.epochs=5": "recipe.epochs=1 data.image_size=64 model.scale.width=0.25",
    "yolab plan mine.yaml --trials 12 --price 0.05": "data.image_size=64 recipe.batch=4",
}
SECONDS = 300  # against hanging


def indented_commands() -> list[str]:
    """Return the lines that begin with `yolab`, without comments; those that end in a backslash go on."""
    text = re.sub(r" \\\n\s+", " ", README)
    found = re.findall(r"^ {4}((?:[A-Z_]+=\S+ )*yolab [^\n]+)$", text, re.MULTILINE)
    return [re.sub(r"\s+# .*", "", line) for line in found]


def mentioned_commands() -> list[str]:
    """Return the commands that stand in sentences."""
    return [" ".join(command.split()) for command in re.findall(r"`(yolab [^`]+)`", README) if "VERB" not in command]


def words_of(command: str) -> tuple[dict[str, str], list[str]]:
    """Return the variables that a command sets, and its words after `yolab`."""
    words = shlex.split(command)
    start = words.index("yolab")
    return dict(word.split("=", 1) for word in words[:start]), words[start + 1 :]


@pytest.mark.parametrize("command", [*indented_commands(), *mentioned_commands()])
def test_the_verb_and_the_options_of_a_command_exist(command: str) -> None:
    at = typer.main.get_command(app)
    words = words_of(command)[1]
    while isinstance(at, TyperGroup) and words and not words[0].startswith("-"):
        if "run" in at.commands and words[0] not in at.commands:  # yolab sweep EXPERIMENT
            words = ["run", *words]
        _, found, words = at.resolve_command(at.context_class(at), words)  # ends the test if there is none
        assert found is not None
        at = found
    known = {option for parameter in at.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert [word for word in words if word.startswith("--") and word != "--help" and word not in known] == []


def test_the_readme_has_commands_and_each_reason_to_skip_one_is_needed() -> None:
    commands = indented_commands()
    assert len(commands) > 10
    assert [part for part in (*SKIPPED, *SHORTER) if not any(part in command for command in commands)] == []


@pytest.fixture(scope="module")
def folder(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README takes to be there: the demo set in place of one's own, mine.yaml, photos."""
    empty = tmp_path_factory.mktemp("readme")
    drawn = installed("data", "demo", "path/to/data", folder=empty)
    assert drawn.returncode == 0, drawn.stderr
    [mine] = [block for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "name: mine" in block]
    (empty / "mine.yaml").write_text(mine)
    (empty / "photos").mkdir()
    for picture in sorted((empty / "path" / "to" / "data" / "val2017").iterdir())[:2]:
        shutil.copy(picture, empty / "photos")
    return empty


def short_commands() -> list[str]:
    run = [command for command in indented_commands() if not any(part in command for part in SKIPPED)]
    return [f"{command} {SHORTER.get(command, '')}".strip() for command in run]


@pytest.mark.acceptance
@pytest.mark.timeout(1500)  # the first one makes the environment
@pytest.mark.parametrize("command", short_commands())
def test_a_command_works_from_a_folder_with_one_s_own_data(command: str, installed: Installed, folder: Path) -> None:
    variables, words = words_of(command)
    done = installed(*words, folder=folder, seconds=SECONDS, environment=variables)
    assert done.returncode == 0, done.stderr
