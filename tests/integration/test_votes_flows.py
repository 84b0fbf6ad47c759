"""The votes example: a service of SQL alone, whose events arrive as anybody's."""
from __future__ import annotations

import json
import threading
from typing import Iterator

import pytest
from harness.example import Example, run_example
from harness.waiting import wait_until


@pytest.fixture(scope="module")
def votes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    with run_example("votes", tmp_path_factory.mktemp("votes")) as running:
        yield running


def counts(stream) -> list[int]:
    return [json.loads(message.data)["count"] for message in stream.messages
            if message.name == "counted"]


def test_each_vote_is_seen_in_order(votes: Example) -> None:
    stream = votes.follow("/votes/tea/stream")
    wait_until(lambda: counts(stream), "the snapshot")
    for _ in range(5):
        assert votes.post("/votes", {"choice": "tea"}).status == 200
    wait_until(lambda: counts(stream)[-1] == 5, "all votes are shown")
    stream.stop()
    assert counts(stream) == sorted(set(counts(stream)))


def test_votes_at_once_are_all_counted_and_all_told(votes: Example) -> None:
    stream = votes.follow("/votes/coffee/stream")
    wait_until(lambda: counts(stream), "the snapshot")
    threads = [threading.Thread(target=lambda: [votes.post("/votes", {"choice": "coffee"})
                                                for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: counts(stream)[-1] == 40, "all votes are shown")
    stream.stop()
    assert votes.get("/votes/coffee").body["count"] == 40
    seen = counts(stream)
    assert seen == list(range(seen[0], 41))


@pytest.mark.parametrize("body", [None, [], {}, {"choice": 1}, {"choice": "Ä"}, {"choice": ""}, b"x"],
                         ids=str)
def test_a_bad_vote_is_told_and_not_counted(votes: Example, body: object) -> None:
    assert votes.post("/votes", body).status == 400
