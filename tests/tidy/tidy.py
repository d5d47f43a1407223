#!/usr/bin/env python3
"""Checks the tree against the house rules: layers, banned calls, file lengths. Prints each finding; exits 1 if any."""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LINES_MAX = 1000

# What must not be called, where it is allowed, and what to use instead.
BANNED = [
    (re.compile(r"\bgetaddrinfo\s*\("), (), "a static binary has no resolver: use network/dns/resolver.h"),
    (re.compile(r"\bgetpw(nam|uid)(_r)?\s*\("), (), "no NSS in a static binary: container/users.h"),
    (re.compile(r"\bgetgr(nam|gid)(_r)?\s*\("), (), "no NSS in a static binary: container/users.h"),
    (re.compile(r"\bco_spawn\s*\("), ("pkg/async/",), "tasks belong to a Scope: async/scope.h"),
    (re.compile(r"\bstd::detached\b|asio::detached"), ("pkg/async/",), "tasks belong to a Scope"),
    (re.compile(r"\bdlopen\s*\("), (), "the binary is static"),
    (re.compile(r"\b(strcpy|strcat|sprintf|gets|tmpnam|mktemp)\s*\("), (), "unbounded"),
    (re.compile(r"\bsystem\s*\("), ("tests/",), "no shell"),
    (re.compile(r"\bFIXME\b"), (), "cannot be merged"),
    (re.compile(r"\busing namespace std;"), (), "names stay qualified"),
]


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns], cwd=ROOT, capture_output=True, text=True)
    return [f for f in out.stdout.splitlines() if os.path.exists(os.path.join(ROOT, f))]


def read_table(name):
    rows = {}
    with open(os.path.join(ROOT, "tests", "tidy", name), encoding="utf-8") as f:
        for line in f:
            line = line.strip()
            if line and not line.startswith("#"):
                key, _, rest = line.partition(":")
                rows[key.strip()] = rest.strip()
    return rows


def closure(layers):
    def reach(p, seen):
        for q in layers.get(p, "").split():
            if q not in seen:
                seen.add(q)
                reach(q, seen)
        return seen
    return {p: reach(p, set()) for p in layers}


def main():
    findings = []
    layers = closure(read_table("layers.txt"))
    exempt = read_table("exempt.txt")
    include = re.compile(r'^\s*#include\s+"([^"/]+)/')
    for path in tracked("pkg/**/*.h", "pkg/**/*.cc", "cmd/*.h", "cmd/*.cc", "tests/**/*.cc", "tests/**/*.h", "pkg/*.h", "pkg/*.cc"):
        package = path.split("/")[1] if path.startswith("pkg/") else None
        test = path.endswith("_test.cc") or "/testing/" in path
        with open(os.path.join(ROOT, path), encoding="utf-8") as f:
            lines = f.read().splitlines()
        if len(lines) > LINES_MAX and path not in exempt:
            findings.append(f"{path}: {len(lines)} lines; split it, or give a reason in tests/tidy/exempt.txt")
        if package is not None and package not in layers:
            findings.append(f"{path}: package {package} is not in tests/tidy/layers.txt")
            continue
        for number, line in enumerate(lines, 1):
            m = include.match(line)
            if m and package is not None and m.group(1) in layers and m.group(1) != package and not test:
                if m.group(1) not in layers[package]:
                    findings.append(f"{path}:{number}: {package} may not include {m.group(1)} (tests/tidy/layers.txt)")
            code = line.split("//")[0]
            for pattern, allowed, why in BANNED:
                if test and "system" in pattern.pattern:
                    continue
                if pattern.search(code) and not any(path.startswith(a) for a in allowed) and path not in exempt:
                    findings.append(f"{path}:{number}: {pattern.search(code).group(0).strip()} is banned here: {why}")
    for package in sorted({p.split("/")[1] for p in tracked("pkg/**/CMakeLists.txt", "pkg/*/CMakeLists.txt") if p.count("/") >= 2}):
        if not os.path.exists(os.path.join(ROOT, "pkg", package, "README.md")):
            findings.append(f"pkg/{package}: has no README.md")
    for finding in findings:
        print(finding)
    print(f"tidy: {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
