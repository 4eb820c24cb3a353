"""Reading YAML that people write: experiments, search spaces, values on the command line."""

import re
from pathlib import Path
from typing import Any

import yaml

from yolab.errors import UsageError


class _Strict:
    """YAML that refuses a key given twice, or one that is no name."""

    def construct_mapping(self: Any, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if type(key) not in (str, int):
                raise yaml.constructor.ConstructorError(None, None, f"{key} is no name", key_node.start_mark)
            if key in mapping:
                raise yaml.constructor.ConstructorError(None, None, f"{key} is given twice", key_node.start_mark)
            mapping[key] = self.construct_object(value_node, deep=True)
        return mapping


class _Yaml(_Strict, yaml.SafeLoader):
    """Strict YAML that reads 1e-3 as a number."""


class _Texts(_Strict, yaml.BaseLoader):
    """Strict YAML in which every value is the text that stands there."""


_Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file. Raises UsageError if there is none."""
    return _mapping(path, _Yaml)


def read_texts(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, every key and value as the text that stands there: no is no, 7 is "7".
    Raises UsageError if there is none."""
    return _mapping(path, _Texts)


def _mapping(path: Path, loader: type[_Yaml | _Texts]) -> dict[str, Any]:
    try:
        content = _loaded(path.read_text(encoding="utf-8"), loader)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"Can't read {path}: {reason}.") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML{_where_in(error)}.") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} must hold a mapping of keys to values, such as `name: my-run`.")
    return content


def _loaded(text: str, loader: type[_Yaml | _Texts]) -> Any:
    """Return what a text means. Raises YAMLError."""
    try:
        return yaml.load(text, loader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except (ValueError, OverflowError) as error:  # such as the 13th month, or a number of 5000 digits
        raise yaml.YAMLError(str(error)) from None


def _where_in(error: yaml.YAMLError) -> str:
    """Return place and reason of a mistake in a YAML file."""
    mark, reason = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{place}: {reason or error}"


def value(text: str, called: str) -> Any:
    """Return what a text means as YAML. Raises UsageError, which names what is `called` so, if it is none."""
    try:
        return _loaded(text, _Yaml)
    except yaml.YAMLError:
        raise UsageError(f"Can't read the value of {called}: {text[:80]!r} is not valid YAML.") from None
