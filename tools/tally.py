#!/usr/bin/env python3
"""Prints `NAME PASSED FAILED SKIPPED` from a test report.

    tools/tally.py NAME REPORT.xml            a JUnit file as ctest writes it
    tools/tally.py NAME LOG --text STATUS     a log whose last summary line says `N passed`, `N failed` …; STATUS is the
                                              program's exit status: not 0 with no failure counted is a failure
"""
import pathlib, re, sys
import xml.etree.ElementTree as tree


def from_junit(path: pathlib.Path) -> tuple[int, int, int]:
    cases = list(tree.parse(path).getroot().iter("testcase"))
    failed = sum(1 for c in cases if c.find("failure") is not None or c.find("error") is not None)
    skipped = sum(1 for c in cases if c.find("skipped") is not None or c.get("status") in ("notrun", "disabled"))
    return len(cases) - failed - skipped, failed, skipped


def from_text(path: pathlib.Path, status: int) -> tuple[int, int, int]:
    counts = {"passed": 0, "failed": 0, "skipped": 0, "error": 0, "xfailed": 0}
    for line in path.read_text(errors="replace").splitlines():
        found = re.findall(r"\b(\d+) (passed|failed|skipped|error|xfailed)", line)
        if found:
            counts = dict.fromkeys(counts, 0) | {word: int(number) for number, word in found}
    failed = counts["failed"] + counts["error"]
    if status != 0 and failed == 0:
        failed = 1
    return counts["passed"] + counts["xfailed"], failed, counts["skipped"]


def main() -> int:
    name, report = sys.argv[1], pathlib.Path(sys.argv[2])
    counts = from_text(report, int(sys.argv[4])) if "--text" in sys.argv else from_junit(report)
    print(name.replace(" ", "-"), *counts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
