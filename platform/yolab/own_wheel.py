"""This yolab as a wheel, for machines that have what it needs, and not its code."""

import base64
import hashlib
import os
import zipfile
from importlib import metadata
from pathlib import Path

import yolab

_KINDS = {".py", ".yaml"}


def write(folder: Path) -> Path:
    """Write the installed code with the experiments, tables and spaces that come with it; return the file.

    The same code is the same file to the byte, and its digest stands behind the version, because Ray takes two wheels
    of one name for the same. It names no dependencies: installers would look for them again.
    """
    root = Path(yolab.__file__).parent
    found = sorted(
        file
        for place, _, names in os.walk(root, followlinks=True)  # shipped/ has links in a repository
        for file in (Path(place, name) for name in names)
        if file.suffix in _KINDS
    )
    content = {f"yolab/{file.relative_to(root).as_posix()}": file.read_bytes() for file in found}
    digest = hashlib.sha256(b"".join(name.encode() + hashlib.sha256(data).digest() for name, data in content.items()))
    version = f"{metadata.version('yolab').partition('+')[0]}+{digest.hexdigest()[:16]}"
    about = f"yolab-{version}.dist-info"
    content[f"{about}/METADATA"] = f"Metadata-Version: 2.1\nName: yolab\nVersion: {version}\n".encode()
    content[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: yolab\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content[f"{about}/RECORD"] = _record(content, f"{about}/RECORD").encode()
    wheel = folder / f"yolab-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return wheel


def _record(content: dict[str, bytes], own: str) -> str:
    """Return the list of a wheel's files, each with its digest and size, as installers want it."""
    lines = []
    for name, data in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}")
    return "\n".join([*lines, f"{own},,\n"])
