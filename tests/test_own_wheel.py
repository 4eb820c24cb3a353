"""The code that goes to other machines."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from yolab import own_wheel
from yolab.experiment import shipped


def test_the_same_code_is_the_same_file_and_has_all_that_comes_with_it(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    one, other = own_wheel.write(tmp_path), own_wheel.write(tmp_path / "again")
    assert (one.name, one.read_bytes()) == (other.name, other.read_bytes())
    names = zipfile.ZipFile(one).namelist()
    assert {Path(name).name for name in names if "/experiments/" in name} == {
        f"{name}.yaml" for name in shipped.names(shipped.Kind.EXPERIMENT)
    }
    assert b"Requires-Dist" not in b"".join(
        zipfile.ZipFile(one).read(name) for name in names if name.endswith("METADATA")
    )


def test_pip_installs_it_and_it_is_what_runs(tmp_path: Path) -> None:
    wheel, place = own_wheel.write(tmp_path), tmp_path / "place"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--target", str(place), str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    told = subprocess.run(
        [sys.executable, "-m", "yolab.cli", "--version"],
        env={**os.environ, "PYTHONPATH": str(place)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == wheel.name.split("-")[1]
