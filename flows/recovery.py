"""What the flow goes on from, and whether the state still has what was taken up to there.

The state is a function of the log, but a flow that goes on writes only what is touched from then on: a
state that was lost (a Redis back empty, a folder removed) would stay without everybody else, for good.
"""

from __future__ import annotations

import pickle
import sqlite3
from contextlib import closing
from pathlib import Path

from recsys.progress import FlowProgress, decode_progress

ANEW = (
    "To fold the log anew: stop the flow, put what `headrace config show` names as `state`, `recovery` and"
    " `archive` aside, and run `headrace flow`."
)
LOST_MS = 60_000
"""A state may be behind the recovery by less, in time of receipt: a power failure takes its last seconds."""

# As Bytewax resumes: from the epoch that all workers of the newest execution had come to.
_RESUMED = """
SELECT ser_change FROM snaps WHERE step_id = 'personalize.tally' AND state_key = 'tally' AND snap_epoch < (
    SELECT coalesce(min(worker_frontier), resume_epoch) FROM exs LEFT JOIN fronts USING (ex_num)
    WHERE ex_num = (SELECT max(ex_num) FROM exs)
) ORDER BY snap_epoch DESC LIMIT 1
"""


class StateLost(Exception):
    """The state does not have what the flow has taken."""


def resumed_progress(recovery: Path) -> FlowProgress:
    """How far the flow is that goes on from this folder. Creates nothing."""
    for part in recovery.glob("part-*.sqlite3"):  # one, see `flows.run`
        with closing(sqlite3.connect(f"{part.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            try:
                found = connection.execute(_RESUMED).fetchone()
            except sqlite3.OperationalError as error:
                if "no such table" not in str(error):
                    raise
                continue  # another process of a new flow is just making it
        if found is not None and found[0] is not None:
            return decode_progress(pickle.loads(found[0]))  # noqa: S301 (our own, as Bytewax reads it)
    return FlowProgress()


def loss(kept: FlowProgress | None, recovery: Path) -> str:
    """What a state whose progress is `kept` has lost of what the flow that goes on from `recovery` has
    taken, and what to do about it; "" for nothing."""
    taken = resumed_progress(recovery)
    if kept is None and taken.received:
        has = "nothing"
    elif kept is not None and taken.watermark_ms - kept.watermark_ms > LOST_MS:
        has = f"only {kept.received:,}"
    else:
        return ""
    return f"Expected a state with the {taken.received:,} events taken, got one with {has} of them. {ANEW}"
