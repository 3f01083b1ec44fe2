from __future__ import annotations

import pytest

from recsys.known import Known


def test_an_answer_is_worked_out_once() -> None:
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return question.upper()

    known = Known(answer, 10, lambda question, found: found != "LONG")
    assert [known[each] for each in ("a", "b", "a", "long", "long")] == ["A", "B", "A", "LONG", "LONG"]
    assert asked == ["a", "b", "long", "long"]


def test_it_forgets_rather_than_grows() -> None:
    known = Known(str, 3)
    for number in range(100):
        assert known[number] == str(number)
        assert len(known) <= 3


def test_what_raises_is_not_kept() -> None:
    known = Known(int, 3)
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            known["x"]
    assert not known
