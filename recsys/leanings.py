"""Leanings of a person: names with a weight that fades, the strongest few of them."""

from __future__ import annotations

from math import inf

from recsys.profile import MAX_AFFINITIES, Affinity

HALF_LIFE_S = 14 * 86_400
"""After two weeks a preference counts half."""


def lean(known: list[Affinity], name: str, gain: float, at_s: int) -> None:
    """Gain weight for a name at `at_s`. See `keep_strongest`."""
    for index, before in enumerate(known):  # noqa: B007 (used behind the loop)
        if before.name == name:
            break
    else:
        known.append(Affinity(name, gain, at_s))
        return
    weight, age_s = before.weight, at_s - before.at_s
    # Either may be the newer (late events): both weights are brought to the later time.
    if age_s > 0:
        weight *= 0.5 ** (age_s / HALF_LIFE_S)
    elif age_s < 0:
        gain *= 0.5 ** (-age_s / HALF_LIFE_S)
        at_s = before.at_s
    # To three digits. `round` goes by way of decimal text, which costs three times as much.
    known[index] = Affinity(name, int((weight + gain) * 1000 + 0.5) / 1000, at_s)


def keep_strongest(known: list[Affinity]) -> None:
    """Drop the weakest names beyond the limit, as they stand at the newest one's time; of equals the last
    by name."""
    while len(known) > MAX_AFFINITIES:
        now_s, weakest, least = max([each.at_s for each in known]), known[0], inf
        for each in known:
            weight = each.weight * 0.5 ** ((now_s - each.at_s) / HALF_LIFE_S)
            if weight < least or (weight == least and each.name > weakest.name):
                weakest, least = each, weight
        known.remove(weakest)
