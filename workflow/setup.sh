#!/usr/bin/env bash
# Create .venv with the pinned dependencies. Usage: setup.sh PYTHON {cuda,cpu}
set -euo pipefail
python=$1 torch=$2

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || {
    echo "Error: $python not found; name a Python 3.11 or newer: make setup PYTHON=/path/to/python3" >&2
    exit 1
}
case $version in
    3.11 | 3.12 | 3.13 | 3.14) ;;
    *)
        echo "Error: $python is Python $version; it must be 3.11 to 3.14: make setup PYTHON=/path/to/python3" >&2
        exit 1
        ;;
esac
case $torch in
    cpu) echo "Downloading about 0.5 GB, including PyTorch without CUDA from download.pytorch.org." ;;
    cuda)
        if [ "$(uname -s)" = Linux ]; then
            echo "Downloading about 3 GB, as PyPI's PyTorch for Linux brings CUDA (5.6 GB on disk)."
            echo "Without a GPU, 'make setup TORCH=cpu' takes PyTorch's own CPU wheels instead: about 0.5 GB."
        else
            echo "Downloading about 0.5 GB."
        fi
        ;;
    *)
        echo "Error: TORCH=$torch; it must be cuda or cpu" >&2
        exit 1
        ;;
esac
"$python" -m pip --version >/dev/null || {
    echo "Error: $python has no pip; on Debian or Ubuntu: apt-get install python3-pip" >&2
    exit 1
}

rm -rf .venv
# Without pip of its own, as Debian and Ubuntu leave ensurepip out of python3: the lock brings it.
"$python" -m venv --without-pip .venv
install() { "$python" -m pip --python .venv/bin/python --disable-pip-version-check install --no-deps "$@"; }
# Entries of the lock, each a line and the indented ones after it: those of some names (1), or of all others (0).
entries() { awk -v wanted="$1" -v names="^($2)==" '/^[^ #]/ { chosen = ($0 ~ names) == wanted } chosen' requirements.lock; }
if [ "$torch" = cpu ]; then
    entries 0 'torch|torchvision|nvidia[^=]*|cuda[^=]*|triton' >.venv/requirements.lock
    echo "Not checked: the sha256 of torch and torchvision, whose CPU wheels are not those of requirements.lock."
    install --index-url https://download.pytorch.org/whl/cpu $(grep -oE '^(torch|torchvision)==[^ ]+' requirements.lock)
else
    cp requirements.lock .venv/requirements.lock
fi
# What has no wheel is built by the setuptools of the lock, not by one that pip would fetch unchecked.
entries 1 setuptools >.venv/setuptools.lock
install --quiet --require-hashes --requirement .venv/setuptools.lock
install --no-build-isolation --require-hashes --requirement .venv/requirements.lock
install --quiet --no-build-isolation --editable .
.venv/bin/python -m pip check
