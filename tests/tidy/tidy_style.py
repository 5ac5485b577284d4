#!/usr/bin/env python3
"""The rules of style that a program can see.

Run alone: top_srcdir=. python3 tests/tidy/tidy_style.py
"""
import os
import re
import sys

sys.dont_write_bytecode = True
import tidy

COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70
MARKER = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")


def long_functions(path, text):
    """A function's body stands between a line '{' and a line '}'."""
    start = None
    for number, line in enumerate(text.splitlines(), 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start is not None:
            size = number - start + 1
            if size > FUNCTION_LINES_MAX:
                yield f"{path}:{start}: a function of {size} lines, at most {FUNCTION_LINES_MAX}"
            start = None


def is_core(path):
    parts = path.split(os.sep)
    return parts[0] in ("core", "tools") or (parts[0] == "plugins" and len(parts) == 2)


def head_of(text):
    """The comment that opens the file."""
    return text[: text.find("*/")] if text.startswith("/*") else ""


def main():
    tap = tidy.Tap()
    functions, columns, tabs, heads, threads, config = [], [], [], [], [], []
    for path in tidy.files(".c", ".h", ".def"):
        text = tidy.read(path)
        functions += long_functions(path, text)
        for number, line in enumerate(text.splitlines(), 1):
            if len(line) > COLUMNS_MAX:
                columns.append(f"{path}:{number}: {len(line)} columns, at most {COLUMNS_MAX}")
            if "\t" in line:
                tabs.append(f"{path}:{number}: a tab")
        if not text.startswith("/*"):
            heads.append(f"{path}: does not open with a comment")
        if is_core(path) and path.endswith(".h"):
            threads += [
                f"{path}: no '{word}' in its first comment"
                for word in ("Threads:", "Ownership:")
                if word not in head_of(text)
            ]
        if is_core(path) and path.endswith(".c"):
            first = re.search(r"^#include (\S+)", text, re.M)
            if first is None or first[1] != "<config.h>":
                config.append(f"{path}: <config.h> is not its first include")
    markers = []
    for path in tidy.files(".c", ".h", ".def", ".py", ".am", ".sh", ".in"):
        for number, line in enumerate(tidy.read(path).splitlines(), 1):
            if MARKER.search(line):
                markers.append(f"{path}:{number}: a leftover marker")
    tap.check(f"functions of at most {FUNCTION_LINES_MAX} lines", functions)
    tap.check(f"lines of at most {COLUMNS_MAX} columns", columns)
    tap.check("no tabs", tabs)
    tap.check("every file opens with a comment", heads)
    tap.check("headers say threads and ownership", threads)
    tap.check("<config.h> comes first", config)
    tap.check("no leftover markers", markers)
    tap.end()


main()
