"""Sixty made-up articles of the demo shop: guides, comparisons, recipes, stories."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any

from bench.shop.words import SITE, records

# title | kind | leaves it is about (slugs) | summary
_ARTICLES = """
How to choose a sleeping bag|Guide|sleeping-bags,sleeping-mats|Comfort, limit,
    extreme: which number on the label counts.
Down or synthetic?|Comparison|sleeping-bags,insulated-jackets|Two fillings, four wet nights,
    one clear answer and one maybe.
The R-value,
    explained on a kitchen floor|Guide|sleeping-mats|Why a thin warm mat beats a thick cold one.
Sleeping better outdoors|Guide|liners-and-pillows,sleeping-mats|Seven small things that matter more
    than the tent.
A first night in a hammock|Story|hammocks,tarps|Two trees, one rope too short,
    and the best sleep in weeks.
Which tent for how many people?|Guide|tents|Why a two-person tent sleeps one and a half.
Five trekking tents in the rain|Comparison|tents,pegs-and-guy-lines|We pitched five tents in a storm
    and went for breakfast.
Pegs for every ground|Guide|pegs-and-guy-lines,tents|Sand, snow, rock and the campsite car park.
Seven ways to pitch a tarp|Guide|tarps,trekking-poles|From the plain lean-to to the plough-point,
    with drawings.
Caring for a tent|Guide|tents,wash-and-proof|Dry it, seal it, store it loose: a tent's three wishes.
Gas,
    wood or spirit?|Comparison|camping-stoves,gas-canisters|Three stoves race to boil a litre at two
    degrees.
How much gas do I need?|Guide|gas-canisters,camping-stoves|A table for two people and any number of
    coffees.
One-pot dal at the lake|Recipe|cookware,camping-stoves|Red lentils, one onion, eighteen minutes.
Pancakes on a camp stove|Recipe|cookware,camping-stoves|A small pan,
    a low flame and the patience of the first one.
Trail meals, tasted blind|Comparison|trail-meals|Twelve bags, six hungry people, no labels.
Water from a stream|Guide|water-filters,bottles-and-flasks|What filters take out and what they leave in.
A bottle for every day|Comparison|bottles-and-flasks,travel-mugs|Steel,
    soft or plastic: which one is still with us after a year.
How to pack a backpack|Guide|hiking-backpacks,dry-bags|Heavy things close, wet things out,
    snacks on top.
Measuring your back|Guide|hiking-backpacks|Five minutes with a tape save a week of sore shoulders.
Under ten kilos|Story|hiking-backpacks,tents|What came along for eight days, and what we missed.
One bag for work and hill|Comparison|daypacks|Four daypacks between the office and the ridge.
Are trekking poles worth it?|Guide|trekking-poles|What the knees say, and what the studies do.
Lumens, beam and battery|Guide|headlamps,power-banks|How to read a headlamp's box.
Light for a long evening|Comparison|lanterns,headlamps|Six lanterns around one table.
Finding north without a phone|Guide|compasses-and-maps|A compass, a watch and the sun, in that order.
Power for a week|Guide|power-banks|How many watt-hours a week outdoors takes.
A rope for the gym, a rope for the wall|Guide|ropes,carabiners-and-belay|Diameter,
    length and how a rope ages.
Your first harness|Guide|harnesses,ropes|Hang in it before you buy it.
Belay devices compared|Comparison|carabiners-and-belay|Tube or assisted: five devices in beginners'
    hands.
Chalk: a small science|Story|chalk-and-tape|Why some of it sticks and most of it floats.
How waterproof is waterproof?|Guide|rain-jackets,wash-and-proof|Water columns and why seams decide.
Wash your rain jacket|Guide|wash-and-proof,rain-jackets|Dirt is what makes a jacket leak.
Rain jackets in the shower|Comparison|rain-jackets|Eight jackets, ten minutes, one cold tester.
Layers for a cold morning|Guide|merino-tops,fleeces,insulated-jackets|Three layers,
    and when to take which one off.
Fleece or down vest?|Comparison|fleeces,insulated-jackets|For the hour when you stop moving.
Why merino does not smell|Story|merino-tops,socks|A sheep, a microscope and a four-day walk.
Trousers for brambles|Comparison|hiking-trousers,shorts|We walked through so that you can walk around.
Breaking in leather boots|Guide|hiking-boots,socks|Two pairs of socks and ten short walks.
Boots or trail shoes?|Comparison|hiking-boots,trail-shoes|What the ankle really wants.
Socks decide the day|Guide|socks,hiking-boots|Blisters start in the drawer.
Warm hands|Guide|gloves,hats|Liner, mitten, shell: a system for fingers.
A packing list for a hut weekend|Guide|daypacks,liners-and-pillows|Thirty things, six kilos,
    one deck of cards.
Camping with children|Guide|tents,lanterns,sleeping-bags|Everything takes twice as long and is twice as
    good.
Coffee on the trail|Guide|travel-brewers,hand-grinders,travel-mugs|Four ways to a good cup above the
    tree line.
Cowboy coffee, done properly|Recipe|cookware,filter-beans|Boil, wait, knock, pour: no filter needed.
Dialling in espresso|Guide|espresso-machines,electric-grinders,espresso-beans|Dose, yield,
    time: change one at a time.
Your first espresso machine|Guide|espresso-machines|What a second boiler is for, and who can do without.
Burrs, flat and conical|Comparison|electric-grinders,hand-grinders|Two shapes, one blind tasting.
Hand grinders under 120 euros|Comparison|hand-grinders|We turned five handles four hundred times.
The three-minute pour-over|Recipe|pour-over-drippers,paper-filters,kettles|Fifteen grams,
    two pours and a calm wrist.
Washed, natural, honey|Guide|filter-beans|What happens to the cherry, and how it tastes later.
French press without mud|Recipe|french-presses,filter-beans|Wait longer and do not press.
Moka pot, the quiet way|Recipe|moka-pots,espresso-beans|Hot water below, low flame, lid open.
Iced coffee for August|Recipe|pour-over-drippers,filter-beans|Brew it over ice, a third stronger.
Milk that shines|Guide|milk-jugs-and-tampers,espresso-machines|Stretch, swirl,
    and pour before you think.
Does a scale matter?|Guide|coffee-scales,kettles|Yes, and the cheap one will do.
Water for coffee|Guide|kettles,cleaning|Soft, hard and the filter in between.
Clean machine, clean cup|Guide|cleaning,espresso-machines|Five minutes a week, by the clock.
Decaf that does not apologise|Story|decaf-beans|How the caffeine leaves and the taste stays.
A cup for every coffee|Comparison|mugs,travel-mugs|Thick, thin,
    handle or none: we drank from all of them.
"""
_AUTHORS = ("Maren Holt", "Idris Calloway", "Jule Brandt", "Tomás Ferreira", "Aino Kallas")
_NEWEST = datetime(2026, 1, 1, tzinfo=timezone.utc)


def slug(text: str) -> str:
    """`French press without mud` -> `french-press-without-mud`; ASCII letters, digits and dashes only."""
    kept = "".join(c if c.isascii() and c.isalnum() else " " if c in " -,/:>" else "" for c in text.lower())
    return "-".join(kept.split())


def make_articles(seed: int, count: int) -> list[dict[str, Any]]:
    """The first `count` (1..60) articles: id, title, summary, url, published, category, tags, author.

    `tags` are slugs of the product categories an article is about.
    """
    lines = records(_ARTICLES)
    if not 1 <= count <= len(lines):
        raise ValueError(f"Expected 1..{len(lines)} articles, got `{count}`")
    rng = Random(f"{seed}/articles")
    articles = []
    for line in lines[:count]:
        title, kind, leaves, summary = line.split("|")
        published = _NEWEST - timedelta(hours=int(rng.random() * 2 * 365 * 24))
        articles.append(
            {
                "id": f"article-{slug(title)}",
                "title": title,
                "summary": summary,
                "url": f"{SITE}/read/{slug(title)}",
                "published": published.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "category": kind,
                "tags": leaves.split(","),
                "author": _AUTHORS[int(rng.random() * len(_AUTHORS))],
            }
        )
    return articles
