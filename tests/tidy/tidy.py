"""What the tidy tests share: the tree's files, C without comments and texts, and TAP."""
import os
import re
import sys

FINDINGS_MAX = 40  # printed for one check
FOLDERS = ("backends", "core", "examples", "frontends", "include", "plugins", "tests", "tools")


def top_srcdir():
    return os.environ.get("top_srcdir", ".")


def files(*endings, folders=FOLDERS):
    """Paths relative to the source folder, sorted; hidden folders and caches left out."""
    found = []
    for folder in folders:
        for where, below, names in os.walk(os.path.join(top_srcdir(), folder)):
            below[:] = [name for name in below if name[0] != "." and name != "__pycache__"]
            for name in names:
                if name.endswith(endings):
                    found.append(os.path.relpath(os.path.join(where, name), top_srcdir()))
    return sorted(found)


def read(path):
    with open(os.path.join(top_srcdir(), path), encoding="utf-8") as file:
        return file.read()


TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def bare(text):
    """C source with comments and the insides of texts blanked; lines keep their numbers."""

    def blank(match):
        token = match.group(0)
        inside = "".join("\n" if byte == "\n" else " " for byte in token[1:-1])
        return token[0] + inside + token[-1] if token[0] in "\"'" else " " + inside + " "

    return TOKEN.sub(blank, text)


class Tap:
    """Counts and prints: one line for each check, its findings below it."""

    def __init__(self):
        self.n_checks = 0
        self.n_failed = 0

    def check(self, name, findings):
        self.n_checks += 1
        self.n_failed += bool(findings)
        print(f"{'not ok' if findings else 'ok'} {self.n_checks} - {name}")
        for finding in findings[:FINDINGS_MAX]:
            print(f"# {finding}")
        if len(findings) > FINDINGS_MAX:
            print(f"# and {len(findings) - FINDINGS_MAX} more")

    def skip(self, name, reason):
        self.n_checks += 1
        print(f"ok {self.n_checks} - {name} # SKIP {reason}")

    def end(self):
        print(f"1..{self.n_checks}")
        sys.exit(1 if self.n_failed else 0)
