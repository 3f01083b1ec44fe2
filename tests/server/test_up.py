"""The supervisor, on small children that tell what happens to them in files."""

import fcntl
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import pytest

from server.up import AlreadyUp, Job, Supervisor, only_one

LIMIT_S = 30
TOLD_TO_STOP = """
import pathlib, signal, sys, time
def stop(*_):
    pathlib.Path(sys.argv[1]).write_text("stopped")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("running", flush=True)
while True:
    time.sleep(0.05)
"""


class Supervised:
    """A supervisor in a thread, and what it said."""

    def __init__(self, *jobs: Job) -> None:
        self.said: list[tuple[str, str]] = []
        self.stopping = Event()
        self.codes: list[int] = []
        supervisor = Supervisor(jobs, lambda name, line: self.said.append((name, line)))
        self.thread = Thread(target=lambda: self.codes.append(supervisor.run(self.stopping)))
        self.thread.start()

    def wait_for(self, name: str, line: str, times: int = 1) -> None:
        until(lambda: sum(1 for told in self.said if told == (name, line)) >= times)

    def end(self) -> int:
        self.thread.join(LIMIT_S)
        assert not self.thread.is_alive()
        return self.codes[0]

    def stop(self) -> int:
        self.stopping.set()
        return self.end()


def python(code: str, *arguments: object) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *map(str, arguments))


def until(condition) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_child_that_died_is_started_again():
    supervised = Supervised(Job("child", (python("print('here'); raise SystemExit(1)"),)))
    supervised.wait_for("child", "here", times=2)
    assert supervised.stop() == 0
    assert ("child", "ended with exit code 1; starts again in 0.5 s") in supervised.said


def test_stopping_tells_every_child_and_waits_for_it(tmp_path):
    jobs = [Job(name, (python(TOLD_TO_STOP, tmp_path / name),)) for name in ("one", "two")]
    supervised = Supervised(*jobs)
    supervised.wait_for("one", "running")
    supervised.wait_for("two", "running")
    assert supervised.stop() == 0
    assert (tmp_path / "one").read_text() == (tmp_path / "two").read_text() == "stopped"


def test_a_child_that_does_not_stop_is_killed():
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True)\n"
    )
    supervised = Supervised(Job("child", (python(stubborn + "time.sleep(600)"),), stop_s=0.2))
    supervised.wait_for("child", "here")
    assert supervised.stop() == 0
    assert supervised.said[-1] == ("child", "has not stopped in 0.2 s; killed")


def test_settings_that_nobody_can_run_with_stop_everything(tmp_path):
    good = Job("good", (python(TOLD_TO_STOP, tmp_path / "good"),))
    bad = Job("bad", (python("import time; time.sleep(1); raise SystemExit(2)"),))
    assert Supervised(good, bad).end() == 2
    assert (tmp_path / "good").read_text() == "stopped"


def test_processes_of_one_job_live_and_die_together(tmp_path):
    other = python(TOLD_TO_STOP, tmp_path / "other")
    dies = python("import time; time.sleep(1); raise SystemExit(1)")
    supervised = Supervised(Job("flow", (other, dies)))
    supervised.wait_for("flow-0", "running", times=2)
    assert supervised.stop() == 0


def test_a_job_that_runs_once_ends_the_supervisor_with_its_code():
    assert Supervised(Job("flow", (python("pass"), python("pass")), once=True)).end() == 0
    assert Supervised(Job("flow", (python("pass"), python("raise SystemExit(7)")), once=True)).end() == 7


def test_a_periodic_job_runs_again_whether_it_went_well_or_not():
    supervised = Supervised(
        Job("train", (python("print('trained')"),), every_s=0.2),
        Job("refused", (python("print('no'); raise SystemExit(1)"),), every_s=900, retry_s=0.2),
    )
    supervised.wait_for("train", "trained", times=2)
    supervised.wait_for("refused", "no", times=2)
    supervised.wait_for("refused", "ended with exit code 1; tried again in 0.2 s")
    assert supervised.stop() == 0


def test_children_end_when_their_supervisor_is_killed(tmp_path):
    held, ready = tmp_path / "held", tmp_path / "ready"
    child = (
        "import fcntl, pathlib, sys, time\n"
        "from server.up import stop_with_supervisor\n"
        "stop_with_supervisor()\n"
        "file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "pathlib.Path(sys.argv[2]).touch(); time.sleep(600)\n"
    )
    parent = (
        "import sys; from threading import Event; from server.up import Job, Supervisor\n"
        "Supervisor([Job('child', ((sys.executable, '-c', *sys.argv[1:]),))], print).run(Event())\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(python(parent, child, held, ready), cwd=root) as process:
        until(ready.exists)
        process.send_signal(signal.SIGKILL)
    with held.open("a") as file:
        until(lambda: _locked(file))


def _locked(file) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_a_home_has_one_supervisor(tmp_path):
    lock = tmp_path / "home" / "up.lock"
    with only_one(lock, "headrace up"), pytest.raises(AlreadyUp) as refused, only_one(lock, "headrace up"):
        pass
    assert str(refused.value).startswith(
        f"Expected no other headrace up on `{lock.parent}`, got one that runs (process "
    )
    with only_one(lock, "headrace up"):
        pass
