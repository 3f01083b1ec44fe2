"""What was shown, and is not shown again for a while."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.placement import DEFAULT_PLACEMENTS, Placement
from recsys.shown import MAX_BLOCKS, Impression, cooling, remembered, remembering, shown_by
from tests.recsys.pipeline.shops import NOW_MS, ask, shelf, shown, slot, visitor

HOUR_MS = 3_600_000
FEED = DEFAULT_PLACEMENTS["home.feed"]


def impression(number: int, placement: str = "home.feed", ago_ms: int = 0, *items: str) -> Impression:
    return Impression(f"d{number}", placement, NOW_MS - ago_ms, items)


impressions = st.lists(
    st.builds(impression, st.integers(0, 80), st.sampled_from(["home.feed", "email.digest"])), max_size=80
).map(lambda many: [msgspec.structs.replace(one, at_ms=int(one.decision_id[1:]) // 2) for one in many])


@given(impressions, st.randoms())
def test_in_whatever_order_it_is_told_the_same_is_remembered(many: list[Impression], random) -> None:
    by_id = {one.decision_id: one for one in many}
    whole = remembered(by_id.values())
    shuffled = [*by_id.values(), *list(by_id.values())[:5]]
    random.shuffle(shuffled)
    told: tuple[Impression, ...] = ()
    for one in shuffled:
        told = remembered(told, (one,))
    assert told == whole
    for placement in ("home.feed", "email.digest"):
        times = [one.at_ms for one in whole if one.placement == placement]
        assert len(times) <= MAX_BLOCKS
        assert times == sorted(times, reverse=True)


def resting(placements: dict[str, Placement], name: str, *known: Impression) -> tuple[str, ...]:
    counting = remembering(placements)[name]
    return cooling(name, placements[name], counting, remembered(known), NOW_MS)


def test_what_was_shown_rests_for_the_cooldown_and_no_longer() -> None:
    rule = {"home.feed": msgspec.structs.replace(FEED, cooldown_s=3600)}
    assert resting(rule, "home.feed", impression(1, "home.feed", HOUR_MS - 1, "t1")) == ("t1",)
    assert resting(rule, "home.feed", impression(1, "home.feed", HOUR_MS, "t1")) == ()


@pytest.mark.parametrize(
    ("counts", "rests"),
    [
        ((), ("own",)),
        (("web",), ("feed", "own")),
        (("home.feed",), ("feed", "own")),
        (("email",), ("own", "cart")),
    ],
)
def test_whose_blocks_count_is_said_by_placement_or_channel(counts: tuple[str, ...], rests) -> None:
    digest = msgspec.structs.replace(
        DEFAULT_PLACEMENTS["email.digest"], cooldown_s=60, cooldown_blocks=0, cooldown_of=counts
    )
    placements = {**DEFAULT_PLACEMENTS, "email.digest": digest}
    known = (
        impression(1, "home.feed", 10, "feed"),
        impression(2, "email.digest", 20, "own"),
        impression(3, "email.cart_recovery", 30, "cart"),
    )
    assert resting(placements, "email.digest", *known) == rests


def test_a_digest_repeats_none_of_the_last_three_however_old() -> None:
    digests = [impression(age, "email.digest", age * 30 * 24 * HOUR_MS, f"t{age}") for age in range(1, 6)]
    others = [impression(9, "home.feed", 1, "s1")]
    assert resting(DEFAULT_PLACEMENTS, "email.digest", *digests, *others) == ("t1", "t2", "t3")


def test_placements_without_a_cooldown_remember_nothing() -> None:
    assert remembering({"home.feed": FEED}) == {}


def test_a_block_leaves_out_what_rests_and_is_full_all_the_same() -> None:
    feed = {"home.feed": msgspec.structs.replace(FEED, cooldown_s=60, explore=0.0)}
    on, person = shelf(), visitor("t1", "t2")
    (first,) = ask(on, person, slot("home.feed", 4), placements=feed)
    known = (Impression(first.decision_id, "home.feed", NOW_MS - 30_000, tuple(shown(first))),)
    (second,) = ask(
        on, person, slot("home.feed", 4), placements=feed, shown=known, counting=remembering(feed)
    )
    assert len(second.items) == 4
    assert not set(shown(first)) & set(shown(second))


def test_what_was_left_in_the_cart_leads_its_mail_again() -> None:
    mail = {
        "email.cart_recovery": msgspec.structs.replace(
            DEFAULT_PLACEMENTS["email.cart_recovery"], cooldown_s=60
        )
    }
    known = (Impression("d", "email.cart_recovery", NOW_MS - 1, ("m4", "s1")),)
    (block,) = ask(
        shelf(), visitor("m1", cart=("m4",)), slot("email.cart_recovery", 6),
        placements=mail, shown=known, counting=remembering(mail),
    )  # fmt: skip
    assert shown(block)[0] == "m4"
    assert "s1" not in shown(block)


EVENT = (
    b'{"type":"track","event":"Block Served","anonymousId":"%s","properties":{"decision_id":"d1",'
    b'"placement":"home.feed","at_ms":5,"items":%s,"person":"%s"}}'
)
ARRAYS = b'[["t1",0.5,["als","",""],1.0],["t2",0.1,["als","",""],1.0]]'
COLUMNS = b'{"ids":["t1","t2"],"scores":[0.5,0.1],"told":[["als","",""]],"whys":[0,0]}'


@pytest.mark.parametrize(
    ("visitor_id", "person", "whose"),
    [(b"v", b"u:anna", "u:anna"), (b"v", b"", "a:v"), (b"nobody:1", b"", None)],
)
@pytest.mark.parametrize("items", [ARRAYS, COLUMNS], ids=["arrays", "columns"])
def test_a_served_event_tells_who_was_shown_what(
    visitor_id: bytes, person: bytes, whose: str | None, items: bytes
) -> None:
    told = shown_by(EVENT % (visitor_id, items, person), frozenset(("home.feed",)))
    assert (told.person if told else None) == whose
    if told is not None:
        assert told.impressions == (Impression("d1", "home.feed", 5, ("t1", "t2")),)


def test_blocks_that_do_not_count_and_those_of_old_versions_tell_nothing() -> None:
    assert shown_by(EVENT % (b"v", COLUMNS, b""), frozenset(("home.hero",))) is None
    assert shown_by(EVENT % (b"v", b'[{"id":"t1"}]', b""), frozenset(("home.feed",))) is None
