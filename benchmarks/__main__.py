"""All benchmarks, one after the other: ratios, each with the limit that it is to reach. Half an hour on a quiet host.

    python -m benchmarks
    python -m benchmarks --only sweep storage

Those of the demo are left out before `make demo` has run.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

OPTIONS = {
    "grid": [],
    "probes": [],
    "lbfgs": [],
    "sweep": [],
    "extraction": [],
    "training": [],
    "arithmetic": [],
    "storage": ["--folder", "FOLDER"],
    "workflow": ["--folder", "FOLDER"],
    "jobs": ["--folder", "FOLDER"],
    "precision": [],
    "demo": ["--folder", "."],
}
OF_THE_DEMO = "precision", "demo"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    names = parser.parse_args().only
    print(f"{'':<72} {'found':>8} {'at least':>8}")
    for name in names:
        if name in OF_THE_DEMO and not Path("results/demo/records.csv").exists():
            print(f"{name}: run `make demo` before")
            continue
        print(f"\n{name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            options = [folder if option == "FOLDER" else option for option in OPTIONS[name]]
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=True)


if __name__ == "__main__":
    main()
