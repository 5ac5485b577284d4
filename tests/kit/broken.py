#!/usr/bin/env python3
"""The kit names the promise that each broken plugin breaks, and finds none where none is broken.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/kit/broken.py [FAULT]
"""
import os
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import kit

TRANSCRIPTS = os.path.join(kit.top_srcdir(), "examples", "plugin-frontend", "transcripts")

# Module, fault, the rule that must be named, the part that must find it.
BROKEN = [
    ("backend", "get_twice", "get-once", "map"),
    ("backend", "get_leaves_out", "get-once", "map"),
    ("backend", "get_fails", "get-fails", "map"),
    ("backend", "get_crashes", "crash", "map"),
    ("backend", "value_is_cut", "value", "map"),
    ("backend", "unknown_result", "result", "map"),
    ("backend", "drops_changes", "value", "map"),
    ("backend", "absent_delete_fails", "delete", "map"),
    ("backend", "apply_fails", "apply", "map"),
    ("backend", "admit_maybe", "admit", "map"),
    ("backend", "admit_refuses", "room", "map"),
    ("backend", "scan_misses", "scan-missed", "scan"),
    ("backend", "scan_by_position", "scan-missed", "scan"),
    ("backend", "scan_spoils", "scan-ghost", "scan"),
    ("backend", "scan_fails", "scan-fails", "scan"),
    ("backend", "scan_does_not_stop", "scan-stop", "scan"),
    ("backend", "scan_passes_stop", "scan-stop", "scan"),
    ("backend", "scan_without_bound", "scan-bytes", "scan"),
    ("backend", "scan_unordered", "scan-order", "scan"),
    ("backend", "scan_never_ends", "scan-end", "scan"),
    ("backend", "scan_overruns", "scan-cursor", "scan"),
    ("backend", "count_is_off", "count", "map"),
    ("backend", "leaks", "leak", "life"),
    ("backend", "releases_twice", "heap", "life"),
    ("backend", "keeps_budget", "budget", "map"),
    ("backend", "prints", "quiet", "life"),
    ("backend", "logs_line_end", "log-line", "life"),
    ("backend", "sleeps", "sleep", "life"),
    ("backend", "pends_undeclared", "pending", "map"),
    ("backend", "completes_twice", "complete", "life"),
    ("backend", "keys_are_shorter", "key-size", "sizes"),
    ("backend", "values_are_shorter", "value-size", "sizes"),
    ("backend", "ignores_generation", "generations", "slots"),
    ("backend", "wipes_too_much", "wipe", "slots"),
    ("backend", "figure_without_name", "stats", "extras"),
    ("backend", "hint_of_the_future", "hint", "extras"),
    ("backend", "sync_fails", "sync", "extras"),
    ("backend", "snapshot_is_empty", "snapshot", "extras"),
    ("backend", "forgets", "reopen", "reopen"),
    ("backend", "keeps_in_memory", "kill", "kill"),
    ("backend", "tears_batches", "atomic", "kill"),
    ("backend", "opens_anywhere", "place", "place"),
    ("backend", "refuses_silently", "error-text", "place"),
    ("backend", "damage_crashes", "damage", "damage"),
    ("backend", "ignores_full_disk", "disk-full", "disk"),
    ("backend", "ignores_no_memory", "no-memory", "no-memory"),
    ("backend", "is_not_volatile", "volatile", "reopen"),
    ("filter", "admits_alone", "admit-below", "map"),
    ("filter", "admits_plain", "admit-below", "map"),
    ("filter", "gets_raw", "value", "map"),
    ("filter", "scans_raw", "scan-ghost", "scan"),
    ("filter", "hides_get_errors", "filter-error", "errors"),
    ("filter", "hides_apply_errors", "filter-error", "errors"),
    ("filter", "hides_scan_errors", "filter-error", "errors"),
    ("filter", "leaks", "leak", "life"),
    ("request", "unknown_verdict", "verdict", "requests"),
    ("request", "answers_in_parts", "answer", "requests"),
    ("request", "unknown_result", "answer", "requests"),
    ("request", "changes_tag", "request", "requests"),
    ("request", "grows_key", "request", "requests"),
    ("request", "ends_streams", "reply-parts", "requests"),
    ("request", "value_elsewhere", "reply-value", "requests"),
    ("request", "leaks", "leak", "requests"),
    ("frontend", "uses_too_much", "feed-used", "transcripts"),
    ("frontend", "wants_too_little", "feed-want", "transcripts"),
    ("frontend", "never_submits", "submit", "transcripts"),
    ("frontend", "goes_on_after_stop", "stop", "random"),
    ("frontend", "empty_key", "request", "transcripts"),
    ("frontend", "writes_beyond", "outbox", "transcripts"),
    ("frontend", "lends_foreign", "lend", "transcripts"),
    ("frontend", "counts_chunks", "chunks", "random"),
    ("frontend", "says_otherwise", "transcript", "transcripts"),
    ("frontend", "wakes_early", "timer", "timer"),
    ("frontend", "probes_for_ever", "probe", "life"),
    ("frontend", "leaks", "leak", "life"),
    ("frontend", "trusts_memory", "crash", "no-memory"),
]


def arguments_for(which, fault):
    kind = "filter" if which == "request" else which
    path = kit.module("tests", "kit", f"broken_{which}.la")
    arguments = [kind, path, f"fault={fault}", *kit.SHORT]
    return arguments + ([f"--transcripts={TRANSCRIPTS}"] if which == "frontend" else [])


def check_sound(tap, which):
    status, said, errors = kit.run_kit(arguments_for(which, "none"))
    tap.result(status == 0, f"{which}: none", kit.broken_lines(said, errors) if status else ())


def check_broken(tap, which, fault, rule, part):
    # What depends on when a process is killed is given more chances.
    rounds = ["--rounds=8"] if part == "kill" else []
    status, said, errors = kit.run_kit([*arguments_for(which, fault), *rounds, f"--part={part}"])
    title = f"{which}: {fault} is {rule}"
    unshown = [one for one in (said or {}).get("capabilities", []) if one["name"] == "full disk"]
    if status == 0 and part == "disk" and unshown and unshown[0]["here"] != "shown":
        tap.skip(title, unshown[0]["why"])
        return
    named = [one["rule"] for one in said["broken"]] if said else []
    is_named = status == 1 and named[:1] == [rule]
    tap.result(is_named, title, () if is_named else
               [f"status {status}, named {named}", *kit.broken_lines(said, errors)])


def main():
    tap = kit.Tap()
    only = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="yakumo-broken-") as folder:
        os.environ["TMPDIR"] = folder
        for which in ("backend", "filter", "request", "frontend"):
            if not only:
                check_sound(tap, which)
        for which, fault, rule, part in BROKEN:
            if not only or fault in only:
                check_broken(tap, which, fault, rule, part)
    tap.end()


main()
