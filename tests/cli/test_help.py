"""What every command says of itself."""

from collections.abc import Iterator
from importlib import metadata
from typing import Any

import pytest
import typer

from tests.cli.conftest import Yolab
from yolab.cli import main


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if hasattr(group, "commands"):
        for name, command in group.commands.items():
            yield from commands(command, (*path, name))
    else:
        yield path, group


EVERY = dict(commands(typer.main.get_command(main.app)))


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_a_command_says_what_it_does_in_a_line_and_gives_an_example(path: tuple[str, ...]) -> None:
    told = EVERY[path].help or ""
    first = told.split("\n\n")[0].strip()
    assert "\n" not in first  # the list of commands shows this line, and cuts it off where it breaks
    assert first.endswith(".")
    assert f"Example: yolab {' '.join(path)}" in " ".join(told.split())


def test_the_version_is_that_of_the_package(yolab: Yolab) -> None:
    answer = yolab("--version")
    assert (answer.code, answer.out.strip()) == (0, metadata.version("yolab"))
