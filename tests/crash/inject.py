#!/usr/bin/env python3
"""The N-th write, fsync, open, truncation or rename in the data folder fails: the node goes on with honest errors
or ends with one clear line, and what it acknowledged is there when it starts again without the failure.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/crash/inject.py [CASE ...]
YK_ROUNDS=N says how many failures for each bucket, YK_FAIL=fsync:12:EIO+ runs that one only, YK_SEED=N repeats
the choices. See README.md here.
"""
import collections
import os
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import rig
import yakumo
from history import Lie
from yakumo import skip, temporary

LIBRARY = os.path.join(yakumo.BUILDDIR, "tests", "crash", ".libs", "fail_calls.so")
CALLS = ("write", "fsync", "open", "truncate", "rename")
# Berkeley DB waits for many seconds where open says that there are too many files: so it says something else.
ERRORS = {"write": ("EIO", "ENOSPC"), "fsync": ("EIO",), "open": ("EIO", "EACCES"), "truncate": ("ENOSPC", "EIO"),
          "rename": ("EIO",)}
N_ROUNDS = rig.n_rounds(14, 1 << 30)
N_ANSWERS = 120  # of the load of one run
# (engine, kind of call): what breaks there today, in the engine's library. It is counted and not complained of.
# Tokyo Cabinet changes its table also where its log of old bytes could not be written (tchdbsetbucket), so that
# the change cannot be undone; and it touches its map once more where it could not cut the file after giving it up.
KNOWN = {("tokyocabinet", "write"): "broke a promise as the library is known to",
         ("tokyocabinet", "truncate"): "broke a promise as the library is known to"}
LOAD_S = 20 * yakumo.SLOW


def need_library():
    if yakumo.IS_VALGRIND:
        skip("not under valgrind")
    if not os.path.exists(LIBRARY):
        skip("fail_calls.la was not built: make check TESTS=")
    program = os.path.join(yakumo.BUILDDIR, "core", "main", "yakumod")
    said = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=False).stdout
    if "san.so" in said:
        skip("a sanitizer wants its library to be the first one")


class Run:
    """One node, one failure, and a second start without it."""

    def __init__(self, kind, seed, failure):
        data = temporary("data")
        os.mkdir(data)
        self.report = temporary("report")
        self.store = rig.Rig([kind], seed, data, is_prefix=False, n_links=2, n_keys=15)
        self.failure = failure

    def counts(self):
        """{kind of call: how many}, and how many failed."""
        with open(self.report, "rb") as file:
            *counts, n_failed = struct.unpack("6Q", file.read())
        return dict(zip(CALLS, counts)), n_failed

    def go(self, is_killed):
        """Returns what became of the node, in words."""
        store = self.store
        store.environment.update(LD_PRELOAD=LIBRARY, YK_FAIL=self.failure, YK_FAIL_FOLDER=store.node.data,
                                 YK_FAIL_REPORT=self.report)
        for bucket in store.buckets:
            bucket.may_fail = True
        try:
            became = self._load(is_killed)
        finally:
            store.traffic.close()
            store.node.kill()
        store.environment.clear()
        for bucket in store.buckets:
            bucket.may_fail = False
        store.start()
        store.check_log()
        store.traffic.close()
        store.node.stop()
        return became

    def _load(self, is_killed):
        store = self.store
        try:
            store.spawn()
        except AssertionError:
            if store.why_refused() is None:
                raise
            return "did not start"
        store.traffic.open()
        if store.traffic.read_all() or store.traffic.work(LOAD_S, N_ANSWERS):
            return self._ended()
        if is_killed:
            store.signal_kill()
            store.node.wait()
        else:
            store.node.send_signal(15)
            status = store.node.wait()
            if status not in (0, 1):
                raise Lie(f"after TERM: {store.ending()}")
        log = store.node.log()
        for words in ("lane stopped", "this part of the keys is refused", "writes are refused"):
            if words in log:
                return words
        return "went on"

    def _ended(self):
        """By itself: only with exit status 1 and a line that says why."""
        status = self.store.node.wait()
        if status != 1 or " error " not in self.store.node.log():
            raise Lie(f"the node ended by itself: {self.store.ending()}")
        return "ended"


def failures(counts, chance):
    """All that a run of so many calls can meet, once and from then on, in a random order."""
    found = []
    for call, n in counts.items():
        for number in range(1, n + 1):
            found += [f"{call}:{number}:{error}{on}" for error in ERRORS[call] for on in ("", "+")]
    chance.shuffle(found)
    return found


def sample(found, n):
    """n of them; each kind of call gets its turn."""
    by_call = [[text for text in found if text.startswith(call + ":")] for call in CALLS]
    chosen = []
    while len(chosen) < min(n, len(found)):
        chosen += [texts.pop() for texts in by_call if texts]
    return chosen[:n]


def check_failures(kind):
    chance = yakumo.random_source()
    seed = chance.random()
    whole = Run(kind, seed, "write:0:EIO")
    whole.go(False)
    counts, _ = whole.counts()
    wanted = [os.environ["YK_FAIL"]] if "YK_FAIL" in os.environ else sample(failures(counts, chance), N_ROUNDS)
    outcomes, broken = collections.Counter(), []
    for i, failure in enumerate(wanted):
        rig.progress(f"{kind.engine} {kind.durability}: {failure}, {i + 1} of {len(wanted)}")
        run = Run(kind, seed, failure)
        try:
            became = run.go(chance.random() < 0.5)
            outcomes[became if run.counts()[1] else "not reached"] += 1
        except AssertionError as error:
            known = KNOWN.get((kind.engine, failure.partition(":")[0]))
            outcomes[known or "broke a promise"] += 1
            if known is None:
                broken.append((failure, error))
    rig.progress("")
    print("# calls of a run: " + ", ".join(f"{n} {call}" for call, n in counts.items()))
    print(f"# {len(wanted)} failures: " + ", ".join(f"{n} {how}" for how, n in sorted(outcomes.items())))
    if broken:
        raise AssertionError(f"YK_FAIL={broken[0][0]}: {broken[0][1]}\nall that broke a promise: "
                             + " ".join(failure for failure, _ in broken)) from broken[0][1]


def case(kind):
    def run():
        yakumo.need_plugin(kind.engine)
        need_library()
        check_failures(kind)

    run.__name__ = f"{kind.engine}_{kind.durability}"
    return run


yakumo.run(*(case(kind) for kind in rig.KINDS if kind.survives != rig.NOTHING))
