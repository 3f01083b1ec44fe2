"""What a feature of the ranker is about, as a merchandiser would say it; several are about the same."""

from __future__ import annotations

from typing import Final

_ABOUT: Final = (
    ("neighbours", "what sessions like this went on to"),
    ("following", "what comes next"),
    ("preceding", "what comes before"),
    ("around", "what stands in the same sessions"),
    ("next_of_late", "what people go on to of late"),
    ("after_last", "what people go on to of late"),
    ("cosine", "what stands in the same sessions"),
    ("pointed", "what sessions like this went on to"),
    ("popularity", "its popularity"),
    ("demand", "its popularity"),
    ("trend", "how its demand moves"),
    ("surge", "how its demand moves"),
    ("slow_surge", "how its demand moves"),
    ("last_seen", "how new it is"),
    ("first_seen", "how new it is"),
    ("repeat", "how often people come back to it"),
    ("ending", "how often sessions end with it"),
    ("steps_back", "whether and when they dealt with it"),
    ("seconds_back", "whether and when they dealt with it"),
    ("past_seconds_back", "whether and when they dealt with it"),
    ("times_in_session", "how often they dealt with it"),
    ("past_times", "how often they dealt with it"),
    ("past_kind", "how often they dealt with it"),
    ("taste", "their taste"),
    ("als", "their taste"),
    ("content", "how much its text is like what they looked at"),
    ("alike", "how much it is like what they looked at"),
    ("bought", "what it is bought with"),
    ("category", "whether it is of the categories they look at"),
    ("brand", "whether it is of the brands they look at"),
    ("price", "its price beside what they look at"),
    ("orders", "how well they are known"),
    ("known_seconds", "how well they are known"),
    ("walks", "what people with the same things have"),
    ("strongest_walk", "what people with the same things have"),
    ("people", "what people with the same things have"),
    ("faded", "what people with the same things have"),
    ("heard", "what people with the same things have"),
    ("session", "how their session goes"),
    ("sessions", "how many sessions are like it"),
    ("pool_size", "how many sessions are like it"),
    ("past_items", "how much they did before"),
    ("history_items", "how much they did before"),
    ("days_since_last", "how much they did before"),
    ("seconds", "how their session goes"),
    ("last", "what they looked at last"),
)
"""By the beginning of a feature's name, or all of it; the first that fits."""


def about(feature: str) -> str:
    """What a feature says; its name in words where nothing is known of it."""
    for start, words in _ABOUT:
        if feature == start or feature.startswith(f"{start}_"):
            return words
    return feature.replace("_", " ")
