"""A small part of `make fuzz`."""

import pytest

from tests import fuzz


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", fuzz.READERS)
def test_a_spoiled_input_is_read_or_refused_in_words(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sound = fuzz.READERS[name].sound()
    for number in range(40):
        assert fuzz.outcome(name, sound, 1, number) in ("read", "refused"), f"input {number} of seed 1"
