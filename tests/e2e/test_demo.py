"""The demo as a reader runs it, without a terminal; and the README's first section with it."""

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

import headrace
from bench.demo.home import DemoHome, Volume

ROOT = Path(headrace.__file__).parent
SMALL = ("--days", "3", "--visits", "100")
LIMIT_S = 200

pytestmark = pytest.mark.slow


class Run(NamedTuple):
    code: int
    out: str
    err: str

    def number(self, pattern: str) -> float:
        found = re.search(pattern, self.out)
        assert found is not None, self.out
        return float(found[1])


def demo(home: Path) -> Run:
    # Wrong for a real shop: a demo must not look at the reader's own settings.
    environ = {**os.environ, "HEADRACE_LOG": "kafka://nowhere.invalid:1/none", "COLUMNS": "80"}
    command = [sys.executable, str(ROOT / "headrace.py"), "--home", str(home), "demo", *SMALL]
    done = subprocess.run(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def first(home):
    return demo(home)


@pytest.fixture(scope="module")
def second(home, first):
    return demo(home)


def test_the_first_run_goes_from_nothing_to_a_changed_block(first):
    assert first.err == ""
    assert first.code == 0
    assert "The shop is simulated" in first.out
    assert re.search(r"log: [\d,]+ events of 3 days", first.out)
    assert re.search(r"flow: [\d,]+ records folded", first.out)
    assert "model: published" in first.out
    assert first.number(r"changed: (\d+) new") + first.number(r"(\d+) moved") > 0
    assert first.number(r"(\d+) ms from the third view to the changed block") > 0
    assert first.number(r"first changed block ([\d.]+) s after start") < LIMIT_S


def test_it_says_why_and_shows_a_filtered_second_page_and_the_email(home, first):
    assert re.search(r"^\S+: Place 1, number \d+ of \d+ candidates: ", first.out, re.MULTILINE)
    assert re.search(r"^\S+: (Not shown: |Place \d)", first.out, re.MULTILINE)
    assert first.out.count("home.feed") == 3
    email = (home / "demo" / "cart-email.html").read_text()
    assert "in your cart since" in email
    assert "as it would arrive: " in first.out


def test_a_product_that_no_model_knows_is_shown(first):
    assert re.search(r"just-in-\d+", first.out)
    assert first.number(r"(\d+) ms from the product's catalogue event to a block that shows it") > 0


def test_cart_and_recommendations_follow_the_customer_to_another_device(first):
    assert "email.cart_recovery" in first.out
    assert "in your cart since" in first.out
    assert "the cart there as here: " in first.out
    assert first.number(r"the home block there as here: (\d) of 5 items") >= 4


def test_the_second_run_builds_nothing_and_has_a_new_visitor(first, second):
    assert second.err == ""
    assert second.code == 0
    assert "events of 3 days" not in second.out
    assert "model: published" not in second.out
    assert second.number(r"changed: (\d+) new") + second.number(r"(\d+) moved") > 0
    assert "anna opens the shop" in first.out
    assert "ben opens the shop" in second.out


def test_no_process_is_left(home, first, second):
    assert holders_of(home) == []


def holders_of(folder: Path) -> list[str]:
    """Processes that have a file below `folder` open. Needs /proc; elsewhere it finds none."""
    holders = []
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # it ended meanwhile
            if str(descriptor.readlink()).startswith(str(folder)):
                holders.append(descriptor.parts[2])
    return holders


def test_the_demo_leaves_the_home_beside_it_alone(home, first):
    assert [path.name for path in home.iterdir()] == ["demo"]


def test_the_state_is_what_the_log_says(home, second):
    command = [sys.executable, str(ROOT / "headrace.py"), "--home", str(home / "demo"), "verify"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.stdout.splitlines()[-1] == "0 differences"
    assert done.returncode == 0


def test_what_an_interrupted_run_left_is_built_anew(tmp_path):
    begun = DemoHome(tmp_path, "headrace.py", Volume(3, 100))
    assert begun.is_new
    half = tmp_path / "log.db"
    half.write_text("half a history")
    assert DemoHome(tmp_path, "headrace.py", Volume(3, 100)).is_new
    assert not half.exists()


def test_another_volume_is_another_history(home, second, tmp_path):
    marker = (home / "demo" / "demo.json").read_text()
    (tmp_path / "demo.json").write_text(marker)
    assert not DemoHome(tmp_path, "headrace.py", Volume(3, 100)).is_new
    assert DemoHome(tmp_path, "headrace.py", Volume(4, 100)).is_new


def test_a_folder_that_is_not_a_demo_is_not_touched(tmp_path):
    precious = tmp_path / "demo" / "log.db"
    precious.parent.mkdir()
    precious.write_text("precious")
    command = [sys.executable, str(ROOT / "headrace.py"), "--home", str(tmp_path), "demo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 1
    assert "Expected an empty folder or a demo's, got `log.db`" in done.stderr
    assert precious.read_text() == "precious"


def first_section() -> str:
    return re.split(r"^## ", (ROOT / "README.md").read_text(), flags=re.MULTILINE)[1]


def test_the_commands_of_the_readme_are_what_make_runs():
    shown = re.findall(r"```sh\n(.*?)```", first_section(), re.DOTALL)[0]
    assert [line.split("#")[0].strip() for line in shown.splitlines()] == ["make demo", "make test"]
    # Under `make test` this is a make within a make, which would tell that it leaves the folder.
    command = ["make", "--no-print-directory", "-n", "demo"]
    runs = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert runs.splitlines()[-1].strip() == ".venv/bin/headrace demo"


def test_the_installed_command_is_this_program():
    assert '[project.scripts]\nheadrace = "headrace:main"\n' in (ROOT / "pyproject.toml").read_text()


def test_the_block_in_the_readme_is_as_the_demo_prints_it(first):
    """Names and numbers differ with the day; every line has its like."""
    shown = re.findall(r"```text\n(.*?)```", first_section(), re.DOTALL)[0]
    printed = {shape(line) for line in first.out.splitlines()}
    landmarks = [line for line in shown.splitlines() if line and not line.startswith(" ")]
    assert landmarks
    assert [line for line in landmarks if shape(line) not in printed] == []


def shape(line: str) -> str:
    """A line without what differs from run to run."""
    line = re.sub(r"model \S+", "model", line)
    return re.sub(r"[\d.,]+", "0", line).strip(" ─")
