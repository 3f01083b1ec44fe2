"""The questions of a trial put to the pipeline as it serves, each at its own time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bench.quality.score import AT, Answers
from bench.quality.trial import Trial
from recsys.models.arrays import Rows
from recsys.models.bundle import Bundle
from recsys.pipeline.replay import FEED, Replay
from recsys.placement import Placement
from recsys.train import Progress

_SAY_EVERY = 500


class Asked(NamedTuple):
    """A question's number, the replay as it stood when it was asked, and what was answered."""

    number: int
    replay: Replay
    rows: Rows
    took_ns: int


def replayed(trial: Trial, bundle: Bundle, placement: Placement = FEED) -> Iterator[Asked]:
    """Live through what happened after the training, and ask on the way. Only people who are asked
    about get a profile; everybody counts for what is in demand."""
    questions = trial.questions
    began_ms = round(float(trial.train.at_s.max(initial=0.0)) * 1000)
    replay = Replay(bundle, trial.catalogue, trial.counters, began_ms, placement)
    in_question = set(questions.persons)
    for event in trial.earlier:
        if event.visitor in in_question:
            replay.remember(event)
    taken, number, events = 0, 0, iter(trial.events)
    while number < len(questions):
        while taken < questions.taken[number]:
            event = next(events)
            taken += 1
            replay.happen(event)
            if event.visitor in in_question:
                replay.remember(event)
        excluded = excluded_of(trial, number)
        now_ms = int(questions.at_ms[number])
        began_ns = time.thread_time_ns()
        rows = replay.best(questions.persons[number], now_ms, AT, excluded)
        yield Asked(number, replay, rows, time.thread_time_ns() - began_ns)
        number += 1


def excluded_of(trial: Trial, number: int) -> list[str]:
    """The ids that are no answer to a question by the protocol."""
    questions, item_ids = trial.questions, trial.train.item_ids
    if trial.bars_history:
        had = questions.walk[questions.start[number] : questions.stop[number]].tolist()
        return [item_ids[row] for row in had if row >= 0]
    current = questions.current(number) if trial.bars_current else -1
    return [item_ids[current]] if current >= 0 else []


def asked_of_pipeline(trial: Trial, bundle: Bundle, placement: Placement, progress: Progress) -> Answers:
    """What the pipeline shows, by item rows of the training."""
    n_questions = len(trial.questions)
    out = np.full((n_questions, AT), -1, np.int32)
    total_ns = 0
    for asked in replayed(trial, bundle, placement):
        out[asked.number, : len(asked.rows)] = asked.rows
        total_ns += asked.took_ns
        if asked.number % _SAY_EVERY == 0:
            progress("ask", asked.number, n_questions)
    progress("ask", n_questions, n_questions)
    return Answers(out, total_ns / 1000 / max(n_questions, 1))
