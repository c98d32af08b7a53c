#!/usr/bin/env python3
"""The house rules that a machine can read: folder edges, third-party fences, sizes, banned words.

Run by the build (target `law`): a broken rule breaks the build. Raising a number is a diff here, with its reason beside it.
"""
import pathlib, re, sys

# Who may use whom; the same table as CMakeLists.txt (which enforces it again by linking).
USES = {
    "core": "", "wire": "core", "guard": "core", "route": "core", "net": "core", "store": "core",
    "provider": "core wire guard net", "local": "core net store", "ledger": "core store",
    "engine": "core guard route provider ledger", "config": "core route provider local",
    "gateway": "core wire net route provider engine ledger local config",
    "bin": "core wire guard route net store provider local ledger engine config gateway",
}
# Third-party headers and the only folders that may include them.
FENCES = {
    r"boost/asio/(awaitable|io_context)\.hpp": "core net local bin",
    r"boost/asio/impl/src\.hpp": "core",
    r"boost/(asio|beast)/": "net local bin",   # local supervises children from its own thread's context
    r"openssl/(ssl|bio|x509|err)": "net",
    r"openssl/": "net local store guard config", # hashes
    r"sqlite3\.h": "store",
    r"simdjson\.h": "wire local provider config ledger gateway bin",
    r"toml\+\+": "config",
    r"CLI/": "bin",
    r"spdlog/": "core",
}
BANNED = {
    r"\basio::detached\b": "work without a parent outlives it: spawn into a group",
    r"\bsleep_for\b": "time goes through Clock or a timer",
    r"\bstd::regex\b": "not linear-time",
    r"\busing namespace std\b": "hides where names come from",
    r"\bclass \w*(Manager|Helper|Util|Utils|Info|Data)\b": "a name that says nothing",
}
SOFT, HARD, HARD_TEST = 400, 800, 1200

def main(root: pathlib.Path) -> int:
    errors = []
    for path in sorted(root.glob("src/*/*.[ch]pp")):
        folder, rel = path.parent.name, path.relative_to(root)
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        test = path.stem.endswith(("_test", "_bench"))
        if len(lines) > (HARD_TEST if test else HARD):
            errors.append(f"{rel}:1: {len(lines)} lines, over {HARD_TEST if test else HARD}: split it")
        allowed = USES.get(folder, "").split() + [folder]
        for number, line in enumerate(lines, 1):
            if match := re.match(r'\s*#\s*include\s+"([^"]+)"', line):
                target = match[1].split("/")[0]
                if ".." in match[1] or "/" not in match[1]:
                    errors.append(f'{rel}:{number}: include as "folder/file.hpp"')
                elif target in USES and target not in allowed:
                    errors.append(f"{rel}:{number}: {folder} may not use {target} (folder law)")
            elif match := re.match(r"\s*#\s*include\s+<([^>]+)>", line):
                for pattern, folders in FENCES.items():
                    if re.match(pattern, match[1]):
                        if folder not in folders.split():
                            errors.append(f"{rel}:{number}: <{match[1]}> belongs in {folders}")
                        break
            code = line.split("//")[0]
            for pattern, why in BANNED.items():
                if re.search(pattern, code) and "law: ok" not in line:
                    errors.append(f"{rel}:{number}: banned ({why})")
        if path.suffix == ".hpp" and "#pragma once" not in text:
            errors.append(f"{rel}:1: no #pragma once")
        if path.suffix == ".hpp" and not text.startswith("//"):
            errors.append(f"{rel}:1: a header opens with what it is for")
    for folder in (p.name for p in root.glob("src/*") if p.is_dir()):
        if folder not in USES:
            errors.append(f"src/{folder}: not in the folder law (tools/law.py and CMakeLists.txt)")
    print("\n".join(errors) if errors else f"law: ok", file=sys.stderr if errors else sys.stdout)
    return 1 if errors else 0

if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()))
