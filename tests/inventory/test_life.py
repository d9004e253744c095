from __future__ import annotations

import itertools

import pytest

from inventory.life import (
    NEEDS_PERSON,
    TRANSITIONS,
    WAITS_FOR_HOST,
    WE_WORK,
    Event,
    ForbiddenTransition,
    HostState,
    next_state,
)

ALLOWED = {(one.source, one.event) for one in TRANSITIONS}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(HostState, Event)))
def test_every_pair_of_state_and_event_is_in_the_table_or_refused(
    state: HostState, event: Event
) -> None:
    if (state, event) not in ALLOWED:
        for held_from in (None, *HostState):
            with pytest.raises(ForbiddenTransition, match=f"{state} cannot follow {event}"):
                next_state(state, event, held_from=held_from)
        return
    targets = {one.target for one in TRANSITIONS if (one.source, one.event) == (state, event)}
    if event is Event.RETRY:
        assert {next_state(state, event, held_from=one) for one in targets} == targets
        for other in (None, *(set(HostState) - targets)):
            with pytest.raises(ForbiddenTransition):
                next_state(state, event, held_from=other)
    else:
        assert {next_state(state, event)} == targets


def test_a_held_host_can_go_back_to_each_state_in_which_it_can_be_held() -> None:
    held_in = {one.source for one in TRANSITIONS if one.event is Event.HOLD}
    assert held_in == {one.target for one in TRANSITIONS if one.event is Event.RETRY}


def test_every_state_can_be_reached_and_nobody_is_responsible_twice() -> None:
    reached = {HostState.DISCOVERED}
    while more := {one.target for one in TRANSITIONS if one.source in reached} - reached:
        reached |= more
    assert reached == set(HostState)
    at_rest = {HostState.IN_OPERATION, HostState.RETIRED}
    assert len([*WE_WORK, *WAITS_FOR_HOST, *NEEDS_PERSON, *at_rest]) == len(HostState)
    assert WE_WORK | WAITS_FOR_HOST | NEEDS_PERSON | at_rest == set(HostState)
