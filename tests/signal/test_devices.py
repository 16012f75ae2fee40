"""Seeds over eight devices, and inputs that lie on them."""

import json

import pytest

from tests.processes import printed

pytestmark = pytest.mark.internals


@pytest.fixture(scope="module")
def facts():
    return json.loads(printed(8, "-m", "tests.signal.eight_devices").splitlines()[-1])


def test_seeds_are_spread_over_all_devices(facts):
    assert facts["devices"] == {"loop": 8, "vmap": 8}
    assert facts["raced on"] == [1, 8]


def test_where_seeds_and_inputs_lie_leaves_the_numbers_alone(facts):
    # Up to the order of float32 sums of at most some hundred terms.
    assert {name: x for name, x in facts["away"].items() if not x < 1e-4} == {}
    assert facts["control"] > 1e-2


def test_devices_that_are_none(facts):
    number, word, twice = facts["refused"]
    assert "`devices` must be 1 to 8" in number
    assert "`devices` must be a number of devices or a sequence" in word
    assert "each once" in twice


@pytest.mark.parametrize("where", ["auto", "explicit", "shards"])
def test_a_sharded_step_is_observed_as_on_one_device(facts, where):
    # Sums over 16 samples in another order; the largest statistic is about 30.
    assert facts["observed"][where] < 1e-4
