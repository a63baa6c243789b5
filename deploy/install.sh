#!/usr/bin/env bash
# Installs the packages of a lock file into .venv, and checks each by its hash.
#
#   deploy/install.sh requirements.lock        what the server needs
#   deploy/install.sh requirements-dev.lock    also what the tests and the checks need
#
# Without a lock file, only .venv itself is made. PYTHON names the interpreter that makes it (python3). A .venv
# that is incomplete, or whose interpreter has gone, is made anew. If the lock file has not changed since the
# last complete installation, nothing is done.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
python=${PYTHON:-python3}

fail() {
    echo "vetrina: $1" >&2
    exit 1
}

is_complete() {
    "$venv/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

make_venv() {
    command -v "$python" >/dev/null ||
        fail "$python is not installed: install Python 3.11 or newer, or name it with PYTHON=/path/to/python3."
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$python is $("$python" -V 2>&1), and Python 3.11 or newer is needed: name it with PYTHON=/path/to/python3."
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python can't make virtual environments: install its venv package (Debian: apt install python3-venv)."
    [ ! -e "$venv" ] || echo "$venv is incomplete: making it again"
    echo "Making the virtual environment $venv with $("$python" -V 2>&1)"
    "$python" -m venv --clear "$venv" || fail "$python -m venv $venv failed; its own message is above."
}

report_progress() {
    while read -r word rest; do
        case $word in
            Collecting) echo "  ${rest%% *}" ;;
            Installing) echo "Unpacking them" ;;
        esac
    done
}

is_complete || make_venv
lock=${1:-}
[ -n "$lock" ] || exit 0

stamp=$venv/installed-$lock
sum=$(sha256sum <"$lock")
[ "$(cat "$stamp" 2>/dev/null)" != "$sum" ] || exit 0

echo "Installing the $(grep -c '^[a-z0-9]' "$lock") packages of $lock into $venv; the first time they are downloaded:"
"$venv/bin/python" -m pip install --no-input --disable-pip-version-check --require-hashes -r "$lock" |
    report_progress || fail "The installation did not finish; the message of pip is above. Run the command again."
echo "$sum" >"$stamp"
echo "Installed."
