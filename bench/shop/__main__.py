"""`python -m bench.shop --out DIR`: write a simulated shop's catalogue, events and truth to files."""

from __future__ import annotations

import argparse
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter

from bench.shop.events import iso
from bench.shop.shop import PersonTruth, Shop, truth_as_json
from bench.shop.stream import VisitTruth


def main() -> None:
    """Write feed.tsv, articles.jsonl, events.jsonl and truth.json; print what is in them."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.shop", description="A simulated shop: none of it is real."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--visitors", type=int, default=500, help="visits a day")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--start", default="2026-01-01", help="first day, UTC")
    parser.add_argument("--broken", type=float, default=0.0, help="share of events no decoder should accept")
    asked = parser.parse_args()
    start = datetime.fromisoformat(asked.start).replace(tzinfo=timezone.utc)
    shop = Shop(asked.seed)
    asked.out.mkdir(parents=True, exist_ok=True)
    shop.write_feed(asked.out / "feed.tsv")
    shop.write_articles(asked.out / "articles.jsonl")
    people: dict[int, PersonTruth] = {}
    intents: Counter[str] = Counter()

    def learn(visit: VisitTruth) -> None:
        intents[visit.intent] += 1
        if visit.person not in people:
            people[visit.person] = shop.truth.person(visit.person)

    began_s, written = perf_counter(), 0
    stream = shop.events(
        int(start.timestamp() * 1000), asked.days, asked.visitors, broken=asked.broken, on_visit=learn
    )
    with (asked.out / "events.jsonl").open("wb") as file:
        for event in stream:
            file.write(with_received_at(event.raw, event.received_ms) + b"\n")
            written += 1
    took_s = perf_counter() - began_s
    (asked.out / "truth.json").write_bytes(truth_as_json(shop.truth, people, intents))
    print(f"Simulated shop (seed {asked.seed}), nothing in it is real; written to {asked.out}")
    print(f"  {len(shop.products)} products, {len(shop.articles)} articles")
    print(
        f"  {written} events of {sum(intents.values())} visits by {len(people)} people, "
        f"{written / took_s:,.0f} events/s"
    )
    print("  intents: " + ", ".join(f"{intent} {count}" for intent, count in intents.most_common()))


def with_received_at(raw: bytes, received_ms: int) -> bytes:
    """The event with `receivedAt` set; what is no JSON object stays as it is."""
    if raw[:1] == b"{" and raw[-1:] == b"}":
        return raw[:-1] + b',"receivedAt":"' + iso(received_ms).encode() + b'"}'
    return raw


if __name__ == "__main__":
    main()
