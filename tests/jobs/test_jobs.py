"""The jobs as a package: what importing them costs, and that they are functions like any others."""

import subprocess
import sys


def modules_after(code: str) -> set[str]:
    """Return which modules a fresh Python has imported after some code."""
    told = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_command_line_imports_no_job_and_nothing_heavy_before_a_command_needs_it() -> None:
    imported = modules_after("import yolab.cli.main")
    assert not {"torch", "ray", "mlflow", "pandas", "dvc"} & imported
    assert not [name for name in imported if name.endswith("_job")]


def test_importing_torch_executes_no_job() -> None:
    assert not [name for name in modules_after("import yolab.jobs, torch") if name.endswith("_job")]


def test_a_job_is_executed_when_it_is_first_asked_for_something() -> None:
    imported = modules_after("from yolab.jobs import ui_job\nassert callable(ui_job.ui)")
    assert "yolab.jobs.ui_job" in imported
    assert "yolab.jobs.compare_job" not in imported


def test_an_interruption_waits_for_an_import_to_end_instead_of_leaving_half_a_module() -> None:
    imported = modules_after(
        "import os, signal, subprocess\n"
        "from yolab.jobs import train_job\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # whoever runs the tests may ignore it
        "subprocess.Popen(['sh', '-c', f'sleep 0.5; kill -INT {os.getpid()}'])\n"
        "try:\n"
        "    train_job.train\n"
        "    raise SystemExit('nothing was interrupted')\n"
        "except KeyboardInterrupt:\n"
        "    assert callable(train_job.train)\n"
    )
    assert {"yolab.jobs.train_job", "torch.nn"} <= imported
