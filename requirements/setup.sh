#!/bin/sh
# Makes .venv with every package of headrace.lock in it, and this project. `make setup` runs it.
# PYTHON=... picks the interpreter; without it the first fitting one is taken.
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

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" && return
        fail "PYTHON=$PYTHON is no 64-bit CPython 3.10, 3.11 or 3.12 ($("$PYTHON" --version 2>&1 || true))"
    fi
    for candidate in python3.12 python3.11 python3.10 python3 python \
        "$HOME"/.pyenv/versions/3.12*/bin/python "$HOME"/.pyenv/versions/3.11*/bin/python \
        "$HOME"/.pyenv/versions/3.10*/bin/python; do
        fits "$candidate" && return
    done
    fail "no 64-bit CPython 3.10, 3.11 or 3.12 found (Bytewax has wheels for no other). Install one:" \
        "    Debian 12:     apt-get install python3.11 python3.11-venv" \
        "    Ubuntu 22.04:  apt-get install python3.10 python3.10-venv   (24.04: python3.12 python3.12-venv)" \
        "    Fedora:        dnf install python3.12" \
        "    macOS:         brew install python@3.12" \
        "    pyenv, uv:     pyenv install 3.12, or uv python install 3.12" \
        "then run make again, or name it: make PYTHON=/path/to/python3.12"
}

# Debian leaves ensurepip out of its python3 packages: then pip comes from outside the environment.
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
    fail "$1 can make no virtual environment: it lacks ensurepip, pip and virtualenv. Install one:" \
        "    Debian, Ubuntu:  apt-get install python$2-venv"
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
    asked=$(find_python) || exit 1
    [ "${found%% *}" = "${asked%% *}" ]
}

VIRTUAL_ENV=$root/.venv UV_PYTHON_DOWNLOADS=never
export VIRTUAL_ENV UV_PYTHON_DOWNLOADS

rm -f .venv/.ready
if reusable; then
    interpreter=$(.venv/bin/python -c 'import os, sys; print(os.path.realpath(sys.executable))')
else
    found=$(find_python)
    version=${found%% *} interpreter=${found#* }
    say "creating .venv with Python $version ($interpreter)"
    make_venv "$interpreter" "${version%.*}"
    echo "$root" >.venv/.root
fi
say "installing the packages of requirements/headrace.lock (some 200 MB if none is cached)"
began=$(date +%s)
install_locked
say "set up in $(($(date +%s) - began)) s"
echo "$root" >.venv/.ready
