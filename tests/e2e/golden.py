"""Golden texts: what a person is told, word for word, in tests/e2e/golden/NAME.txt.

`INTERTIE_GOLDEN=accept` writes them anew; the diff is the review. Ports, ids and temporary folders are levelled first.
"""
from __future__ import annotations

import difflib
import os
import pathlib
import re

FOLDER = pathlib.Path(__file__).parent / "golden"
LEVEL = (
    (r"/[\w./-]*/itt-[a-z0-9_]{8}", "HOME"),
    (r"127\.0\.0\.1:\d{4,5}|localhost:\d{4,5}", "ADDRESS"),
    (r"\b\d+(\.\d+)? (µs|ms|s)\b", "N s"),
    (r"[ \t]+\n", "\n"),
)


def level(text: str, *more: tuple[str, str]) -> str:
    text = text.replace("\r\n", "\n")
    for pattern, replacement in (*more, *LEVEL):
        text = re.sub(pattern, replacement, text)
    return text.rstrip("\n") + "\n"


def check(name: str, text: str, *more: tuple[str, str]) -> None:
    """`more`: (pattern, replacement) pairs for what differs between runs in this one text."""
    file, got = FOLDER / f"{name}.txt", level(text, *more)
    if os.environ.get("INTERTIE_GOLDEN") == "accept":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(got)
        return
    assert file.exists(), f"no golden {file.name}; INTERTIE_GOLDEN=accept tests/e2e/run BINARY would write:\n{got}"
    want = file.read_text()
    if got != want:
        diff = "".join(difflib.unified_diff(want.splitlines(True), got.splitlines(True), f"golden/{file.name}", "got"))
        raise AssertionError(f"differs from its golden (INTERTIE_GOLDEN=accept takes the new text):\n{diff}")


def answer(name: str, reply, *more: tuple[str, str]) -> None:
    """Status, the headers a client acts on, and the body of one HTTP answer."""
    kept = [f"{n}: {reply.headers[n]}" for n in ("content-type", "retry-after", "allow", "connection")
            if n in reply.headers]
    check(name, "\n".join([str(reply.status), *kept, "", reply.body.decode("utf-8", "replace")]), *more)
