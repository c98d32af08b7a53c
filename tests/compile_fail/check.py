#!/usr/bin/env python3
"""Proves that a misuse doesn't compile and that its proper twin does: check.py CASE COMPILER FLAGS…"""
import re, subprocess, sys

def main() -> int:
    case, *command = sys.argv[1:]
    expect = re.search(r"^// expect: (.+)$", open(case, encoding="utf-8").read(), re.M)[1]
    twin = subprocess.run([*command, case], capture_output=True, text=True)
    if twin.returncode != 0:
        print(f"{case}: the proper use does not compile\n{twin.stderr}")
        return 1
    misuse = subprocess.run([*command, "-DMISUSE", case], capture_output=True, text=True)
    if misuse.returncode == 0:
        print(f"{case}: the misuse compiles")
        return 1
    if not re.search(expect, misuse.stderr):
        print(f"{case}: fails for another reason than /{expect}/\n{misuse.stderr}")
        return 1
    return 0

if __name__ == "__main__":
    sys.exit(main())
