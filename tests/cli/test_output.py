"""What is printed where, with a terminal on stderr and a pipe on stdout."""

import json
import os
import pty
import re
import subprocess
import sys
import termios

import pytest

from yolab.cli.output import print_table

BEGIN = "import contextlib, sys\nfrom yolab.cli.output import print_json, terminal\n"
PROGRESS = "watcher.progress('Working', 1, 3)"
TRIALS = (
    "from yolab.reports.trials_table import RunningTrials; "
    "watcher.trials(RunningTrials('s', [{'trial': 't', 'state': 'running', 'point': {}}], [], None))"
)


@pytest.mark.parametrize("tell", [[PROGRESS], [TRIALS], [PROGRESS, TRIALS, PROGRESS]])
def test_the_result_goes_to_stdout_even_if_a_display_began_while_stdout_was_elsewhere(tell):
    """As it is while Ray is connected, whose own words must not get between a command's."""
    inside = "\n        ".join(tell)
    code = f"{BEGIN}with terminal() as watcher:\n    with contextlib.redirect_stdout(sys.stderr):\n        {inside}\n"
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm"}
    done = subprocess.run(
        [sys.executable, "-c", code + "print_json({'a': 1})"], stdout=subprocess.PIPE, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = os.read(ours, 10**5).decode()
    os.close(ours)
    assert done.returncode == 0, shown
    assert json.loads(done.stdout) == {"a": 1}
    assert ("Working" in shown) == (PROGRESS in tell)


def on_terminal(code: str, columns: int) -> list[str]:
    """Return the lines that a terminal of so many columns shows of Python code that prints there, frames left out."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, columns))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment["TERM"] = "xterm"
    done = subprocess.run([sys.executable, "-c", code], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = os.read(ours, 10**5).decode()
    os.close(ours)
    assert done.returncode == 0, shown
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "").splitlines()
    assert max(map(len, lines)) <= columns, lines
    return [re.sub("[│┃ ]+", " ", line).strip() for line in lines]


SWEEP = """
from yolab.cli.output import Terminal, print_table, table_of
from yolab.reports.trials_table import RunningTrials
point = {"model.scale.depth": 1.5, "model.scale.width": 0.75, "assigner.top_k": 17, "recipe.optimiser.lr": 0.0123}
row = {"trial": "trial-003", "state": "running", "point": point, "epoch": 12, "epochs": 30, "ap": 0.4321,
       "time_total_s": 100.0}
"""


@pytest.mark.parametrize("columns", [80, 60])
def test_the_live_table_of_a_sweep_shows_scores_whole_and_folds_the_point(columns):
    show = "watcher = Terminal(); watcher.trials(RunningTrials('scaling', [row], [], 8)); watcher.close()"
    shown = " ".join(on_terminal(SWEEP + show, columns))
    assert "AP" in shown
    assert "0.432" in shown
    assert "0:02:30" in shown
    assert "…" not in shown


@pytest.mark.parametrize("columns", [200, 80, 40])
def test_a_table_fits_the_terminal_and_nothing_of_it_is_cut(columns):
    heads = ["name", "state", "AP", "AP50", "started", "model", "digest"]
    values = ["scaling/trial-003", "stopped early", 0.4321, None, "2026-01-02 03:04:05", "yolov7[1]", "0123456789ab"]
    code = f"from yolab.cli.output import print_table; print_table('runs', {heads}, [{values}] * 2)"
    shown = on_terminal(code, columns)
    for wanted in (*heads, "0.432", "yolov7[1]", "0123456789ab", "2026-01-02", "03:04:05", "stopped", "early"):
        assert any(wanted in line for line in shown), (wanted, shown)


@pytest.mark.parametrize(
    ("columns", "said"), [(["trial", "AP"], True), (["ap_small"], True), (["model", "params"], False)]
)
def test_a_table_with_an_ap_says_its_unit(columns, said, capsys):
    print_table("scores", columns, [[0.5] * len(columns)])
    assert ("AP from 0 to 1" in " ".join(capsys.readouterr().out.split())) == said
