"""XML files of annotations."""

from pathlib import Path
from xml.etree import ElementTree

from yolab.errors import UsageError


def root_tag(file: Path) -> str:
    """Return what a file's outermost element is called; nothing if it is no XML."""
    try:
        with file.open("rb") as content:
            return next(iter(ElementTree.iterparse(content, ("start",))))[1].tag
    except (OSError, ElementTree.ParseError, StopIteration, ValueError):
        return ""


def parsed(file: Path, tag: str) -> ElementTree.Element:
    """Return a file's outermost element. Raises UsageError if the file is no XML, or that is not called `tag`."""
    try:
        root = ElementTree.parse(file).getroot()
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise UsageError(f"Can't read {file} as XML ({error}): repair it, or take it out.") from None
    if root.tag != tag:
        raise UsageError(f"{file} begins with {root.tag!r}, annotations of this layout with {tag!r}: take it out.")
    return root
