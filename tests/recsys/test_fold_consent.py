"""What a profile forgets and keeps when consent is given, withdrawn or taken back."""

from __future__ import annotations

from recsys.events import Action, Consent
from tests.recsys.folds import HOUR_S, apply_late, cart_of, folded, lines, order, session_of
from tests.recsys.worlds import T0, event


def test_consent_withdrawn_forgets_what_was_learned() -> None:
    before = folded(
        event(0, Action.CART_ADD, "tent", query="tents"),
        order(1, "o1", 5.0, lines=lines("mug")),
    )
    no = folded(event(2, item="pegs", query="pegs", consent=Consent(personalization=False)), onto=before)
    after = folded(event(3, item="pegs", query="pegs"), onto=no)
    for profile in (no, after):
        assert (profile.touches, profile.categories) == ((), ())
        assert (session_of(profile).queries, session_of(profile).category) == ((), "")
        assert (profile.personalization, profile.consent_ms) == (False, T0 + 2000)
    assert (cart_of(after), after.order_count) == ({"tent": 1.0}, 1)  # served and billed all the same
    yes = folded(event(4, item="pegs", consent=Consent(personalization=True)), onto=after)
    assert [touch.item for touch in yes.touches] == ["pegs"]


def test_consent_withdrawn_by_what_is_no_visit_forgets_too() -> None:
    before = folded(event(0, query="tents"))
    profile = folded(event(1, Action.GROUP, None, consent=Consent(personalization=False)), onto=before)
    assert (profile.touches, profile.categories, session_of(profile).queries) == ((), (), ())


def test_unsubscribing_concerns_mail_only() -> None:
    seen = folded(event(0, consent=Consent(personalization=True)))
    profile = folded(event(1, Action.UNSUBSCRIBE, None, consent=Consent(email=False)), onto=seen)
    assert (profile.email, profile.personalization, profile.touches) == (False, True, seen.touches)
    back = folded(event(2, Action.SUBSCRIBE, None, consent=Consent(email=True)), onto=profile)
    assert back.email is True


def test_a_late_word_on_consent_counts_where_nothing_newer_was_said() -> None:
    no = Consent(personalization=False)
    yes_now = folded(event(2 * HOUR_S, consent=Consent(personalization=True)))
    late = apply_late(yes_now, event(HOUR_S, item="pegs", consent=no))
    assert (late.personalization, late.touches) == (True, yes_now.touches)
    mail_now = folded(event(2 * HOUR_S, consent=Consent(email=True)))
    late = apply_late(mail_now, event(HOUR_S, consent=no))
    assert (late.personalization, late.email, late.touches) == (False, True, ())
    assert late.consent_ms == T0 + 2 * HOUR_S * 1000


def test_who_said_no_leaves_no_late_trail_either() -> None:
    no = folded(event(2 * HOUR_S, consent=Consent(personalization=False)))
    assert apply_late(no, event(HOUR_S)).touches == ()
