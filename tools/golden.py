#!/usr/bin/env python3
"""Runs the golden cases with the newest build; `--accept` rewrites their expectations: the diff is the review.

usage: tools/golden.py [--accept] [FILE_OR_FOLDER…]    (default: tests/golden)
"""
import pathlib, subprocess, sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

def main() -> int:
    runners = sorted(ROOT.glob("build/*/tests/golden/golden"), key=lambda p: p.stat().st_mtime)
    if not runners:
        print("golden: build first: cmake --build build/dev --target golden", file=sys.stderr)
        return 2
    arguments = sys.argv[1:]
    if not any(not a.startswith("--") for a in arguments):
        arguments.append(str(ROOT / "tests/golden"))
    return subprocess.run([runners[-1], *arguments]).returncode

if __name__ == "__main__":
    sys.exit(main())
