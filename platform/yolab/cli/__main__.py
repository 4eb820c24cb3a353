"""`python -m yolab.cli` is the command `yolab`."""

from yolab.cli.main import run

run()
