#!/usr/bin/env bash
# Make .venv with the pinned dependencies. Usage: setup.sh PYTHON {cuda,cpu}
set -euo pipefail
python=$1 torch=$2

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || {
    echo "Error: $python is not here; name a Python 3.11 or newer: make setup PYTHON=/path/to/python3" >&2
    exit 1
}
case $version in
    3.11 | 3.12 | 3.13 | 3.14) ;;
    *)
        echo "Error: $python is Python $version; 3.11 to 3.14 are allowed: make setup PYTHON=/path/to/python3" >&2
        exit 1
        ;;
esac
case $torch in
    cpu) echo "To be downloaded: about 0.5 GB, PyTorch without CUDA from download.pytorch.org included." ;;
    cuda)
        if [ "$(uname -s)" = Linux ]; then
            echo "To be downloaded: about 3 GB, as PyPI's PyTorch for Linux brings CUDA (5.6 GB on disk)."
            echo "Without a GPU, 'make setup TORCH=cpu' takes PyTorch's own CPU wheels instead: about 0.5 GB."
        else
            echo "To be downloaded: about 0.5 GB."
        fi
        ;;
    *)
        echo "Error: TORCH=$torch; allowed are cuda and cpu" >&2
        exit 1
        ;;
esac

rm -rf .venv
if ! "$python" -m venv .venv 2>/dev/null; then
    # Debian and Ubuntu leave ensurepip out of python3; virtualenv brings its own pip.
    rm -rf .venv
    "$python" -m pip install --quiet --target .venv/bootstrap virtualenv
    PYTHONPATH=.venv/bootstrap "$python" -m virtualenv --quiet .venv
fi
pip=".venv/bin/python -m pip --disable-pip-version-check"
lock=requirements.lock
if [ "$torch" = cpu ]; then
    $pip install --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' $lock)" "$(grep '^torchvision==' $lock)"
    lock=.venv/requirements-cpu.lock
    grep -vE '^(nvidia|cuda|triton)' requirements.lock > $lock
fi
$pip install --requirement $lock
$pip install --quiet --no-deps --editable .
