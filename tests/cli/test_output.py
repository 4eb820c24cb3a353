"""What is printed where, with a terminal on stderr and a pipe on stdout."""

import json
import os
import pty
import subprocess
import sys

import pytest

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
