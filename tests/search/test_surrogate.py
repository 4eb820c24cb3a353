"""What searchers and schedulers save, on recorded learning curves."""

from statistics import fmean

import pytest

from tests.search.surrogate import CURVES, SEARCHES, epochs_to_good


@pytest.fixture(scope="module")
def needed() -> dict[tuple[str, str], float]:
    return {search: fmean(epochs_to_good(*search, seed) for seed in range(12)) for search in SEARCHES}


def test_asha_and_tpe_get_there_with_a_part_of_the_epochs_of_random_search(needed):
    assert len(CURVES) == 64
    random = needed["random", "none"]
    assert needed["random", "asha"] < 0.75 * random
    assert needed["tpe", "none"] < 0.75 * random
    assert needed["tpe", "asha"] < 0.75 * random
