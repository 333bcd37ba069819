"""The cool-down of a trainer after lost attempts."""

from hypothesis import given
from hypothesis import strategies as st

from earmark.gateway.fleet.cool_down import FACTORS, CoolDown


def test_the_cool_down_grows_with_losses_in_a_row_up_to_a_limit() -> None:
    cool_down, now, pauses = CoolDown(first_seconds=2), 100.0, []
    for _ in range(6):
        cool_down.record_loss(now)
        pauses.append(cool_down.seconds_left(now))
        now = cool_down.until
        assert cool_down.seconds_left(now) == 0
    assert pauses == [2, 10, 30, 30, 30, 30]


def test_losses_at_the_same_time_count_once() -> None:
    cool_down = CoolDown()
    for _ in range(4):
        cool_down.record_loss(100.0)
    assert (cool_down.losses, cool_down.seconds_left(100.5)) == (1, 0.5)


def test_a_success_ends_the_cool_down_and_the_row_of_losses() -> None:
    cool_down = CoolDown()
    cool_down.record_loss(100.0)
    cool_down.record_loss(110.0)
    cool_down.reset()
    assert cool_down.seconds_left(110.0) == 0
    cool_down.record_loss(111.0)
    assert cool_down.seconds_left(111.0) == FACTORS[0]


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=30))
def test_a_cool_down_is_never_longer_than_its_losses_allow(events) -> None:
    cool_down, now, losses = CoolDown(), 0.0, 0
    for passed, success in events:
        now += passed
        losses = 0 if success else losses + 1
        cool_down.reset() if success else cool_down.record_loss(now)
        assert cool_down.losses <= losses
        assert cool_down.seconds_left(now) <= ([0, *FACTORS] + [15] * 30)[losses]
        assert (cool_down.seconds_left(now) > 0) or success or losses == 0
