#!/bin/sh
# Makes .venv with every package of headrace.lock in it, and this project. `make setup` runs it.
# PYTHON=... picks the interpreter; without it the fastest fitting one is taken.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd -P)

say() { printf 'headrace: %s\n' "$*"; }
fail() { printf 'headrace: %s\n' "$@" >&2; exit 1; }

# Prints version and path of the interpreter that "$1" runs, if Headrace can run on it.
# It is run, not judged by its name: a pyenv shim may lead nowhere.
fits() {
    "$1" -c 'import platform, struct, sys
fits = (3, 10) <= sys.version_info[:2] <= (3, 12) and platform.python_implementation() == "CPython"
if not fits or struct.calcsize("P") != 8: sys.exit(1)
print(platform.python_version(), sys.executable)' 2>/dev/null
}

# Prints how long "$1" takes for a little work (in steps of a fifth, so that nearly equal ones are equal).
# Builds with and without profile-guided optimisation differ by a third, and not all say what they are.
slowness() {
    "$1" -c 'import math, time
def work():
    table = {}
    for number in range(4000):
        key = number & 255
        table[key] = (number, str(key), [key], max(number, key))
def took():
    began = time.process_time()
    work()
    return time.process_time() - began
print(round(math.log(min(took() for _ in range(50)) * 1e6, 1.2)))'
}

# Prints version and path of each interpreter that Headrace can run on, the fastest first.
find_pythons() {
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" && return
        fail "PYTHON=$PYTHON is no 64-bit CPython 3.10, 3.11 or 3.12 ($("$PYTHON" --version 2>&1 || true))"
    fi
    # By their places too: a shim of pyenv stands before the system's own.
    for candidate in python3.12 python3.11 python3.10 python3 python \
        /usr/bin/python3 /usr/bin/python3.1[0-2] /usr/local/bin/python3.1[0-2] \
        "$HOME"/.pyenv/versions/3.12*/bin/python "$HOME"/.pyenv/versions/3.11*/bin/python \
        "$HOME"/.pyenv/versions/3.10*/bin/python; do
        found=$(fits "$candidate") || continue
        echo "$(slowness "$candidate") $found"
    done | sort -s -n -k 1,1 | cut -d " " -f 2- | awk '!seen[$0]++'
}

no_python() {
    fail "no 64-bit CPython 3.10, 3.11 or 3.12 found (Bytewax has wheels for no other). Install one:" \
        "    Debian 12:     apt-get install python3.11 python3.11-venv" \
        "    Ubuntu 22.04:  apt-get install python3.10 python3.10-venv   (24.04: python3.12 python3.12-venv)" \
        "    Fedora:        dnf install python3.12" \
        "    macOS:         brew install python@3.12" \
        "    pyenv, uv:     pyenv install 3.12, or uv python install 3.12" \
        "then run make again, or name it: make PYTHON=/path/to/python3.12"
}

# Debian leaves ensurepip out of its python3 packages: then pip comes from outside the environment.
# Fails where the interpreter has no way to make one.
make_venv() {
    rm -rf .venv
    "$1" -m venv .venv >/dev/null 2>&1 && return
    rm -rf .venv
    if "$1" -m venv --without-pip .venv >/dev/null 2>&1 && "$1" -m pip --version >/dev/null 2>&1; then
        return
    fi
    rm -rf .venv
    "$1" -m virtualenv -q .venv >/dev/null 2>&1 && return
    rm -rf .venv
    return 1
}

# With the fastest interpreter that can make one.
make_any_venv() {
    pythons=$(find_pythons)
    [ -n "$pythons" ] || no_python
    while read -r version interpreter; do
        say "creating .venv with Python $version ($interpreter)"
        make_venv "$interpreter" </dev/null && return
        say "$interpreter can make no virtual environment: it lacks ensurepip, pip and virtualenv"
        lacking=${version%.*}
    done <<END
$pythons
END
    fail "no Python here can make a virtual environment. Install what is missing:" \
        "    Debian, Ubuntu:  apt-get install python$lacking-venv"
}

# With the environment's own pip, else the interpreter's, told to install there (pip 22.3 and newer).
pip_install() {
    if .venv/bin/python -m pip --version >/dev/null 2>&1; then
        .venv/bin/python -m pip install -q --disable-pip-version-check "$@"
    else
        "$interpreter" -m pip --python .venv/bin/python install -q --disable-pip-version-check "$@"
    fi
}

# uv takes seconds where pip takes a minute. It knows neither pip.conf nor pip's certificates: where
# it cannot reach an index, pip does the work.
install_locked() {
    if pip_install --require-hashes -r requirements/installer.lock &&
        .venv/bin/uv pip install -q --require-hashes -r requirements/headrace.lock; then
        .venv/bin/uv pip install -q --no-index --no-deps --no-build-isolation -e .
        return
    fi
    say "uv could not install them; trying pip, which takes a few minutes"
    pip_install --require-hashes -r requirements/headrace.lock
    pip_install --no-index --no-deps --no-build-isolation -e .
}

# A .venv that was moved or whose Python has gone does not run; PYTHON may ask for another version.
reusable() {
    [ "$(cat .venv/.root 2>/dev/null)" = "$root" ] && found=$(fits .venv/bin/python) || return 1
    [ -z "${PYTHON:-}" ] && return
    asked=$(find_pythons) || exit 1
    [ "${found%% *}" = "${asked%% *}" ]
}

VIRTUAL_ENV=$root/.venv UV_PYTHON_DOWNLOADS=never
export VIRTUAL_ENV UV_PYTHON_DOWNLOADS

began=$(date +%s)
rm -f .venv/.ready
if reusable; then
    interpreter=$(.venv/bin/python -c 'import os, sys; print(os.path.realpath(sys.executable))')
else
    make_any_venv
    echo "$root" >.venv/.root
fi
say "installing the packages of requirements/headrace.lock (some 200 MB if none is cached)"
install_locked
say "set up in $(($(date +%s) - began)) s"
echo "$root" >.venv/.ready
