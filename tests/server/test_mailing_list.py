"""Whom a mailing goes to: what lines may say, and each person once."""

from __future__ import annotations

import pytest

from server.mailing_list import WrongPerson, each_once, listed, people_of
from server.pb import headrace_pb2 as pb


def test_people_are_named_in_three_ways() -> None:
    given = ["u:7", "", 'a:x"y', '{"user_id": "8", "anonymous_id": "z"}']
    assert [(one.user_id, one.anonymous_id, one.render_id) for one in people_of(given, "c")] == [
        ("7", "", "c:u:7"), ("", 'x"y', 'c:a:x"y'), ("8", "z", "c:u:8"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "anna",
            "Expected `u:<user id>`, `a:<anonymous id>` or JSON with one of them, got `anna` - in line 2",
        ),
        ("u:", "got `u:` - in line 2"),
        ("u:None", "Expected an id that names somebody, got `u:None` - in line 2"),
        ("{}", "got `{}` - in line 2"),
        ('{"user_id": "5", "years": 18}', "Object contains unknown field `years` - in line 2"),
        ('{"user_id": "5", "age": 151}', "Expected `int` <= 150 - at `$.age` - in line 2"),
        ('{"user_id": 5}', "Expected `str`, got `int` - at `$.user_id` - in line 2"),
        ("u:" + "x" * 201, "Expected at most 200 bytes, got 201 bytes - at `user_id` - in line 2"),
        ("a:user:5", "Expected an id not starting with `headrace:` or `user:`, got `user:5`"),
        ("u:anna\udce9", r"Expected UTF-8, got `u:anna\udce9` - in line 2"),
    ],
)
def test_a_line_that_names_nobody_is_told(line: str, said: str) -> None:
    with pytest.raises(WrongPerson) as refused:
        list(people_of(["u:1", line], "c"))
    assert said in str(refused.value)


def test_lines_that_name_nobody_may_be_left_out_and_are_told() -> None:
    left_out: list[WrongPerson] = []
    found = people_of(["u:1", "anna", "a:headrace:x", "u:2"], "c", left_out.append)
    assert [one.user_id for one in found] == ["1", "2"]
    assert [str(wrong)[-9:] for wrong in left_out] == ["in line 2", "in line 3"]


def test_a_line_has_a_context_of_its_own_where_it_says_so() -> None:
    given = ["u:1", '{"user_id": "2", "market": "AT"}', '{"user_id": "3", "age": 16}']
    for context in (None, pb.Context(market="DE", age=18)):
        first, second, third = people_of(given, "c", context=context)
        assert not first.HasField("context")
        assert second.context == pb.Context(market="AT", age=context.age if context else 0)
        assert third.context == pb.Context(market=context.market if context else "", age=16)


def test_who_stands_there_twice_counts_where_they_stand_first() -> None:
    lines = ["u:1", "a:2", "u:1", "u:3", "a:2", "u:2", "u:1"]
    found = listed(people_of(lines, "c"))
    assert (found.n_lines, found.n_people) == (7, 4)
    once = each_once(people_of(lines, "c"), found.twice)
    assert [person.render_id for person in once] == ["c:u:1", "c:a:2", "c:u:3", "c:u:2"]


def test_people_who_share_a_hash_are_all_asked_for() -> None:
    lines = ["u:1", "u:2", "u:3"]
    everything = frozenset(hash(person.render_id) for person in people_of(lines, "c"))
    assert len(list(each_once(people_of(lines, "c"), everything))) == 3


def test_a_list_may_be_empty() -> None:
    assert listed(()) == (0, 0, frozenset())
