#!/usr/bin/env bash
# What the tests of this folder need beyond `make setup`: installed where this user may, or named.
set -euo pipefail
cd "$(dirname "$0")/../.."

# A Chromium, in which the report is looked at: the system's, or the one that playwright keeps.
has_chromium() {
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
        .venv/bin/python -c '
import pathlib, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    sys.exit(not pathlib.Path(playwright.chromium.executable_path).exists())'
}
if ! has_chromium; then
    echo "No Chromium found; installing one ..."
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        # Debian's package; Ubuntu's is a snap, which does not start everywhere.
        if ! grep -q '^ID=ubuntu' /etc/os-release; then
            apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null || true
        fi
        has_chromium || .venv/bin/playwright install --with-deps chromium || true
    else
        .venv/bin/playwright install chromium || true
    fi
    has_chromium || {
        echo "Error: no Chromium, which the tests of the report need, and it could not be installed; install it" \
            "(on Debian: apt-get install chromium), then run make test-long again" >&2
        exit 1
    }
fi

# A processor of another vendor, by CPUID that faults or by QEMU: without them tests/long/test_other_processors.py skips.
if [ "$(uname -sm)" = "Linux x86_64" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    lacking=()
    command -v cc >/dev/null || lacking+=(gcc libc6-dev)
    command -v qemu-x86_64 >/dev/null || grep -q cpuid_fault /proc/cpuinfo || lacking+=(qemu-user)
    if [ "${#lacking[@]}" != 0 ]; then
        echo "Installing ${lacking[*]} ..."
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${lacking[@]}" >/dev/null; } || true
    fi
fi

# A disk that can be filled: mounting one takes root, or a user namespace.
if [ "$(id -u)" != 0 ] && ! unshare --map-root-user --mount true 2>/dev/null; then
    echo "Error: tests/long/test_full_disk.py mounts a small disk, for which this user needs root or user namespaces" \
        "(sysctl kernel.unprivileged_userns_clone=1); allow one of them, then run make test-long again" >&2
    exit 1
fi
