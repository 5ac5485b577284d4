#!/usr/bin/env python3
"""Every plugin of this tree passes the kit.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/kit/shipped.py [NAME]
"""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import kit

TRANSCRIPTS = os.path.join(kit.top_srcdir(), "tests", "unit", "memcached_transcripts")

# One line adds a plugin: kind, name, what else is typed. Those that were not built are skipped. A rule
# that an engine is known to break stands here with its reason: --except=RULE.
SHIPPED = [
    ("backend", "memory"),
    # A damaged page may send these two anywhere: LMDB checks none, Berkeley DB takes zeros for new ones.
    ("backend", "lmdb", "--except=damage"),
    ("backend", "tokyocabinet"),
    ("backend", "berkeleydb", "--except=damage"),
    ("filter", "stats"),
    ("filter", "delay", "get=2ms", "jitter=1ms"),
    ("filter", "fault"),
    ("filter", "fault", "get=10%", "apply=5%", "admit=5%", "scan=5%"),
    ("filter", "readonly"),
    ("frontend", "memcached", f"--transcripts={TRANSCRIPTS}"),
]

# Sketches in examples/, which "make check" builds.
SKETCHES = [
    ("backend", "async"),
    ("filter", "ratelimit", "rate=10"),
    ("frontend", "http"),
    ("frontend", "resp"),
    ("frontend", "watch"),
]


def hold(tap, name, arguments):
    status, said, errors = kit.run_kit([*arguments, *kit.length()])
    tap.result(status == 0, f"{name} passes", kit.broken_lines(said, errors) if status else ())


def main():
    tap = kit.Tap()
    only = sys.argv[1:]
    built = {name for _, name in kit.plugins()}
    for kind, name, *rest in SHIPPED:
        if only and name not in only:
            continue
        title = " ".join([kind, name, *(word for word in rest if not word.startswith("--"))])
        if name not in built:
            tap.skip(title, "it was not built")
            continue
        hold(tap, title, [kind, name, *rest])
    for kind, name, *rest in SKETCHES:
        path = kit.module("examples", f"{name}.la")
        if only and name not in only:
            continue
        if os.path.exists(path):
            hold(tap, f"{kind} {name}, a sketch", [kind, path, *rest])
        else:
            tap.skip(f"{kind} {name}, a sketch", "it was not built")
    tap.end()


main()
