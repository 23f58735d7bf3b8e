"""What replicas do to each other: a few rounds of every race; `make bench-races` runs thousands."""

from __future__ import annotations

from typing import Any

import pytest
from replica_races import RACES, Arena, arena

from keyserver.settings import Settings

ROUNDS = 4


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.__name__)
def test_nothing_goes_wrong_in_a_few_rounds_of(race: Any, settings: Settings) -> None:
    with arena(settings, seed=7) as there:
        assert [race(there) for _ in range(ROUNDS)] == [None] * ROUNDS


def test_a_race_would_notice_a_key_that_is_released_after_it_was_suspended(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acknowledged_only(*_: object) -> None:
        return None

    monkeypatch.setattr("keyserver.service.keylife.suspend_key", acknowledged_only)
    with arena(settings, seed=7) as there:
        assert isinstance(there, Arena)
        suspended = next(race for race in RACES if race.__name__ == "suspended")
        assert "released afterwards" in str(suspended(there))
