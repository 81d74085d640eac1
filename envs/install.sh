#!/usr/bin/env bash
# Make or complete the Python environment given as the first argument, with this package and its tools in it.
# uv does it in a minute; where uv cannot be had, venv and pip do the same in a few.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=$1

python=${PYTHON:-}
for candidate in python3.13 python3.12 python3.11 python3; do
    [ -n "$python" ] && break
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$candidate
done
[ -n "$python" ] || { echo "No Python >= 3.11 found. Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 2; }

if [ ! -x "$environment/bin/python" ]; then
    [ ! -e "$environment" ] || { echo "$environment exists and has no bin/python. Delete it, or deactivate it" >&2; exit 2; }
    if command -v uv >/dev/null; then
        uv venv --quiet --python "$python" "$environment"
    else
        "$python" -m venv "$environment" || {
            rm -rf "$environment"
            echo "Python's venv module does not work here. On Debian: apt-get install python3-venv" >&2
            exit 2
        }
    fi
fi

uv=$(command -v uv || true)
if [ -z "$uv" ] && "$environment/bin/python" -m pip install --quiet --disable-pip-version-check uv; then
    uv=$environment/bin/uv
fi
if [ -n "$uv" ]; then
    "$uv" pip install --quiet --python "$environment/bin/python" --editable '.[dev]'
else
    "$environment/bin/python" -m pip install --quiet --editable '.[dev]'
fi
