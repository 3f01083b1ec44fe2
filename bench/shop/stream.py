"""The stream: people come, come back, and their events arrive in the order of `received_ms`.

An agenda of visits drives it, day by day. Memory holds the people who will come back and the events
still under way, never the history. Randomness hangs on (seed, person, visit), so no draw depends on
what others do meanwhile; who comes on a day depends on the seed and the days before it only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from random import Random
from typing import NamedTuple

from bench.shop.afterwards import follow_up
from bench.shop.catalogue import Catalogue, Pick
from bench.shop.events import DAY_MS, HOUR_MS, MINUTE_MS, Faults, SimEvent, Wire
from bench.shop.journeys import choose_channel, choose_intent, play
from bench.shop.people import Person, make_person
from bench.shop.visit import Visit

# How busy each hour of the day is (UTC): quiet nights, a lunch bump, long evenings.
_BUSY = (6, 4, 3, 2, 2, 4, 8, 16, 24, 30, 34, 36, 40, 36, 32, 30, 32, 38, 46, 56, 62, 54, 34, 16)
_HOUR = Pick(list(range(24)), [float(busy) for busy in _BUSY])
_LEAST_NEW_SHARE = 0.3
_BACK_SAME_DAY_SHARE = 0.12  # of a day's visits; nobody has appointed those in the morning
_COMES_BACK = {
    "left_at_once": 0.2,
    "looking": 0.42,
    "reading": 0.45,
    "comparing": 0.6,
    "buying": 0.35,
    "gift": 0.2,
    "buying_again": 0.3,
}
_SOONEST_RETURN_MS = 40 * MINUTE_MS


class VisitTruth(NamedTuple):
    """What was behind one visit: who it was, on which device, why they came, how it ended."""

    person: int
    anonymous_id: str
    user_id: str  # the account's, whether they logged in or not; "" for people without one
    taste: str
    tier: int
    leaves: tuple[str, ...]
    intent: str
    started_ms: int
    ended_ms: int
    orders: int


OnVisit = Callable[[VisitTruth], None]


class _Appointment(NamedTuple):
    """A visit to come. Ordered by time, then person; a person has at most one."""

    at_ms: int
    number: int
    person: Person | None  # None: they come for the first time
    campaign: str  # of the email that brings them, or ""

    def __lt__(self, other: tuple[object, ...]) -> bool:
        return self[:2] < other[:2]


class Stream:
    """Simulated events in order of `received_ms`; iterate once."""

    def __init__(
        self,
        catalogue: Catalogue,
        seed: int,
        start_ms: int,
        days: int,
        visitors_per_day: int,
        faults: Faults,
        on_visit: OnVisit | None,
    ) -> None:
        self._catalogue = catalogue
        self._seed = seed
        self._start_ms = start_ms
        self._days = days
        self._visitors_per_day = visitors_per_day
        self._faults = faults.check()
        self._on_visit = on_visit
        self._agenda: list[_Appointment] = []
        self._under_way: list[tuple[int, int, SimEvent]] = []
        self._counted = 0
        self._people = 0

    def __iter__(self) -> Iterator[SimEvent]:
        under_way, agenda = self._under_way, self._agenda
        end_ms = self._start_ms + self._days * DAY_MS
        for day in range(self._days):
            day_ms = self._start_ms + day * DAY_MS
            self._invite(day, day_ms)
            while agenda and agenda[0].at_ms < day_ms + DAY_MS:
                appointment = heappop(agenda)
                while under_way and under_way[0][0] <= appointment.at_ms:
                    yield heappop(under_way)[2]
                self._play(appointment, end_ms)
        while under_way and under_way[0][0] < end_ms:
            yield heappop(under_way)[2]

    def _invite(self, day: int, day_ms: int) -> None:
        """New people for a day: as many as those coming back leave room for."""
        rng = Random(f"{self._seed}/day/{day}")
        back = sum(1 for appointment in self._agenda if appointment.at_ms < day_ms + DAY_MS)
        new = max(
            int(self._visitors_per_day * _LEAST_NEW_SHARE),
            int(self._visitors_per_day * (1 - _BACK_SAME_DAY_SHARE)) - back,
            1,
        )
        for _ in range(new):
            at_ms = day_ms + int((_HOUR.at(rng.random()) + rng.random()) * HOUR_MS)
            heappush(self._agenda, _Appointment(at_ms, self._people, None, ""))
            self._people += 1

    def _play(self, appointment: _Appointment, end_ms: int) -> None:
        at_ms = appointment.at_ms
        person = appointment.person or make_person(self._seed, appointment.number, at_ms, self._catalogue)
        person.visits += 1
        rng = Random(f"{self._seed}/visit/{person.number}/{person.visits}")
        token = f"{rng.getrandbits(64):016x}"
        device = person.devices[
            1 if len(person.devices) > 1 and person.visits > 1 and rng.random() < 0.4 else 0
        ]
        channel = choose_channel(rng.random())
        intent = choose_intent(person, at_ms, rng.random())
        if appointment.campaign:
            campaign = {"source": "newsletter", "medium": "email", "name": appointment.campaign}
            channel = {"referrer": "", "campaign": campaign}
            intent = "looking" if intent == "left_at_once" else intent
        wire_rng = Random(f"{self._seed}/wire/{token}")
        wire = Wire(
            device.anonymous_id,
            device.context,
            token,
            user_id=device.user_id,
            clock_off_ms=device.clock_off_ms,
            faults=self._faults,
            rng=wire_rng,
        )
        visit = Visit(self._catalogue, person, device, wire, rng, at_ms, channel)
        play(visit, intent)
        after = follow_up(visit, rng, token, self._faults)
        for event in (*wire.out, *after.events):
            if event.received_ms < end_ms:
                self._counted += 1
                heappush(self._under_way, (event.received_ms, self._counted, event))
        _use_up(visit, rng)
        if self._on_visit:
            self._on_visit(
                VisitTruth(
                    person.number,
                    device.anonymous_id,
                    person.user_id,
                    person.taste,
                    person.tier,
                    tuple(person.leaves),
                    intent,
                    at_ms,
                    visit.now_ms,
                    len(visit.ordered),
                )
            )
        self._appoint(visit, intent, rng, after.click_ms, after.campaign, end_ms)

    def _appoint(
        self, visit: Visit, intent: str, rng: Random, click_ms: int | None, campaign: str, end_ms: int
    ) -> None:
        """When, if at all, they come back: by an email's click, by mood, or when something runs out."""
        person = visit.person
        soonest_ms = visit.now_ms + _SOONEST_RETURN_MS
        u, v = rng.random(), rng.random()
        back_ms = None
        if click_ms is not None and click_ms >= soonest_ms:
            back_ms = click_ms + 3_000
        elif u < _COMES_BACK[intent]:
            campaign = ""
            back_ms = soonest_ms + int(14 * DAY_MS * v**3)
        elif person.runs_out and u < 0.85:
            campaign = ""
            back_ms = max(soonest_ms, person.runs_out[0][0] + int(3 * DAY_MS * v))
        if back_ms is not None and back_ms < end_ms:
            heappush(self._agenda, _Appointment(back_ms, person.number, person, campaign))


def _use_up(visit: Visit, rng: Random) -> None:
    """Note when the consumables just bought will be used up."""
    person = visit.person
    for _, lines, _ in visit.ordered:
        for line in lines:
            if line.product.leaf.lasts_days:
                lasts_ms = int(
                    line.product.leaf.lasts_days * line.quantity * (0.7 + 0.6 * rng.random()) * DAY_MS
                )
                person.runs_out.append((visit.now_ms + lasts_ms, line.product))
    person.runs_out.sort(key=lambda due: due[0])
    del person.runs_out[4:]
