"""Transcripts of a client's session: what a person types and what Kubernetes prints back. The format is in README.md."""
import difflib
import os
import re
import shlex

# What an answer may hold that no two clusters share.
HOLES = {
    "<age>": r"(?:<invalid>|(?:\d+[smhdy])+)",
    "<ago>": r"(?:<invalid>|(?:\d+[smhdy])+(?: \(x\d+ over (?:\d+[smhdy])+\))?)",
    "<ip>": r"\d+\.\d+\.\d+\.\d+",
    "<uid>": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "<time>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)",
    "<date>": r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? .{15,40}",
    "<hash>": r"[0-9a-z]+",
    "<word>": r"\S+",
    "<n>": r"\d+",
    "<any>": r".*",
}
HOLE = re.compile("|".join(re.escape(h) for h in HOLES))


class Step:
    """One command. eventually: repeated until it answers as written."""

    def __init__(self, command, eventually, where):
        self.command, self.eventually, self.where = command, eventually, where
        self.exit, self.out, self.err, self.stdin = 0, [], [], []


class Scenario:
    def __init__(self, client, name, where):
        self.client, self.name, self.where = client, name, where
        self.given, self.steps = [], []
        self.alone = self.unsupported = None

    @property
    def id(self):
        return f"{self.client}/{self.name}"

    @property
    def namespace(self):
        return f"{self.client}-{self.name}"


def parse(path):
    """The scenarios of one file; a ValueError names the line that is no transcript."""
    client = os.path.splitext(os.path.basename(path))[0].split("_")[0]
    scenarios, step = [], None
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            where = f"{os.path.basename(path)}:{number}"
            if line.startswith("### "):
                scenarios.append(Scenario(client, line[4:].strip(), where))
                step = None
            elif not scenarios:
                if line and not line.startswith("# "):
                    raise ValueError(f"{where}: before the first scenario")
            elif line.startswith(("$ ", "$~ ")):
                step = Step(line.split(" ", 1)[1], line.startswith("$~"), where)
                scenarios[-1].steps.append(step)
            elif step is None:
                read_header(scenarios[-1], line, where)
            elif line.startswith("? "):
                step.exit = int(line[2:])
            elif line.startswith("! "):
                step.err.append(line[2:])
            elif line.startswith("< "):
                step.stdin.append(line[2:])
            else:
                step.out.append(line[1:] if line.startswith("\\") else line)
    for s in scenarios:
        if not s.steps:
            raise ValueError(f"{s.where}: {s.id} has no command")
        for step in s.steps:  # empty lines before the next scenario are layout
            while step.out and not step.out[-1].strip():
                step.out.pop()
    return scenarios


def read_header(scenario, line, where):
    key, _, value = line.partition(": ")
    if key == "given":
        scenario.given.append(value)
    elif key in ("alone", "unsupported"):
        setattr(scenario, key, value)
    elif line.strip():
        raise ValueError(f"{where}: not a header: {line!r}")


def split_command(text):
    """-> (environment, arguments): NAME=value before the program is its environment, as in a shell. There is no shell."""
    arguments, environment = shlex.split(text), {}
    while arguments and re.match(r"[A-Z_]+=", arguments[0]):
        name, _, value = arguments.pop(0).partition("=")
        environment[name] = value
    return environment, arguments


def even(line):
    """Columns are padded to the longest of the cluster's names: between words, more than one blank is as good as any."""
    head = line[:len(line) - len(line.lstrip(" "))]
    return (head + re.sub(r" *\t[ \t]*|  +", "  ", line[len(head):])).rstrip()


def pattern(lines):
    parts = []
    for line in lines:
        if line == "...":
            parts.append(r"(?:.*\n)*?")
            continue
        at, out, line = 0, "", even(line)
        for hole in HOLE.finditer(line):
            out += re.escape(line[at:hole.start()]) + HOLES[hole.group()]
            at = hole.end()
        parts.append(out + re.escape(line[at:]) + r"\n")
    return re.compile("".join(parts))


def mismatch(expected, text):
    """'' where text is what was expected, else a difference for people."""
    lines = [even(line) for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if pattern(expected).fullmatch("".join(line + "\n" for line in lines)):
        return ""
    wanted = [e if e == "..." else next((line for line in lines if pattern([e]).fullmatch(line + "\n")), even(e)) for e in expected]  # where a hole is filled, that is no difference
    return "\n".join(difflib.unified_diff(wanted, lines, "expected", "printed", lineterm="", n=1))
