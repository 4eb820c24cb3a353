"""Files say the version of their format."""

import pytest

from yolab.errors import UsageError
from yolab.storage.document import read_document, write_document


def test_a_document_is_read_back_one_from_before_versions_too_and_a_newer_one_refused(storage):
    write_document(storage, "run.json", {"key": "k"}, version=1)
    assert storage.read("run.json").startswith(b'{\n  "format": 1,')
    assert read_document(storage, "run.json", version=2) == {"key": "k"}
    storage.write("run.json", b'{"key": "old"}')
    assert read_document(storage, "run.json", version=1) == {"key": "old"}
    storage.write("run.json", b'{"format": 3, "key": "new"}')
    with pytest.raises(UsageError, match=r"run.json was written by a newer yolab \(its format is 3"):
        read_document(storage, "run.json", version=2)


@pytest.mark.parametrize("content", [b"[]", b"{", b'"text"'])
def test_what_is_no_mapping_is_told(content, storage):
    storage.write("run.json", content)
    with pytest.raises(ValueError):
        read_document(storage, "run.json", version=1)
