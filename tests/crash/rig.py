"""What the crash tests share: the buckets and what each promises, a node of them under load, and its restarts."""
import collections
import os
import re
import resource
import shutil
import signal
import sys
import time

import yakumo
from history import Lie
from traffic import KEYS_PER_LINK, N_LINKS, Bucket, Traffic

# What an acknowledged write survives.
NOTHING, KILL, POWER = "nothing", "kill -9", "loss of power"
Kind = collections.namedtuple("Kind", "engine durability survives")

ENGINES = ("memory", "tokyocabinet", "berkeleydb", "lmdb")
# One line for each bucket of the node.
KINDS = (
    *(Kind(engine, "os", KILL) for engine in ENGINES),
    *(Kind(engine, "disk", POWER) for engine in ENGINES),
    Kind("memory", "memory", NOTHING),
)

# Engines, and which files of theirs may send them anywhere when they are not what was written, as in
# tests/kit/shipped.py: LMDB checks no page (SIGBUS, or worse), Berkeley DB may search a page of zeros without end.
# Tokyo Cabinet follows any place that its table names, in a circle too, and puts back whatever its log of old bytes
# holds (SIGBUS, or a search without end).
MAY_CRASH_ON_DAMAGE = {"lmdb": r"\.mdb$", "tokyocabinet": r"\.(tch|wal)$"}
MAY_HANG_ON_DAMAGE = {"berkeleydb": r"\.db$", "tokyocabinet": r"\.(tch|wal)$"}

# Keys of the node's section that make checkpoints of its journal frequent: "journal_size = 1M" and the like.
NODE_KEYS = "journal_size = 8M\n"
N_LANES = 3
WORKERS_MAX = 3

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def built(kinds=KINDS):
    """Those of them whose engine was built; skips where there is none."""
    found = [kind for kind in kinds if yakumo.has_plugin(kind.engine)]
    if not found:
        yakumo.skip("no such engine was built")
    return found


def n_rounds(short, long):
    """How often: YK_ROUNDS, or by the form of the run."""
    return int(os.environ.get("YK_ROUNDS") or (long if yakumo.IS_LONG else max(short // yakumo.SLOW, 3)))


def progress(text):
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


class Rig:
    """A node with a bucket for each kind, and what is known of each. It may be started again and again."""

    def __init__(self, kinds, seed, data=None, is_prefix=True, may_lose=False, n_links=N_LINKS, n_keys=KEYS_PER_LINK):
        self.kinds = list(kinds)
        self.buckets = []
        config = ("[backend lmdb]\nmap_size = 256M\n[backend tokyocabinet]\nbnum = 2000\n"
                  "[backend berkeleydb]\ncache_size = 4M\ncheckpoint_size = 1M\nlog_file_size = 1M\n")
        for i, kind in enumerate(self.kinds):
            name = f"{kind.engine}_{kind.durability}"
            path = yakumo.temporary("s")
            self.buckets.append(Bucket(name, path, seed, is_prefix, may_lose, n_links, n_keys))
            config += (f"[bucket {name}]\nbackend = {kind.engine}\ndurability = {kind.durability}\n"
                       f"[frontend memcached{f' {i + 1}' if i else ''}]\nlisten = unix:{path}\nbucket = {name}\n")
        config += f"[node a]\nlanes = {N_LANES}\n{NODE_KEYS}"
        self.environment = {}
        self.node = yakumo.Node(config, data=data, extra=self.environment, start=False)
        self.options = list(self.node.options)
        self.traffic = Traffic(self.buckets)
        self.set_workers(2)
        self.start_s = 0.1  # how long a start takes, of late

    def set_workers(self, n):
        self.node.options = self.options + [f"node.workers={n}"]

    def spawn(self):
        """Starts it and waits until it serves. The kernel may give the sockets of a killed node's ring back a
        little later than the node itself: then once more."""
        for n_left in range(10, -1, -1):
            before = time.monotonic()
            self.node.spawn()
            try:
                self.node.wait_log(r"\bmain: ready ")
                break
            except AssertionError:
                if "Address already in use" not in self.node.log() or n_left == 0:
                    raise
                time.sleep(0.05)
        self.start_s = time.monotonic() - before

    def start(self):
        """Starts it and reads everything twice: it must be what may be there, and stay so."""
        self.spawn()
        self.traffic.open()
        for kind, bucket in zip(self.kinds, self.buckets):
            bucket.is_deaf = False
            bucket.n_unreadable = 0
            if kind.survives == NOTHING:
                bucket.history.forget()
            bucket.history.restarted()
            bucket.is_old = bucket.may_lose
        self.check()
        for bucket in self.buckets:
            bucket.is_old = False
        self.check()
        for bucket in self.buckets:
            if bucket.n_unreadable == 0:
                bucket.check_scan()

    def check(self):
        """Reads everything."""
        if self.traffic.read_all():
            raise Lie(f"the node closed its connections while it was read: {self.ending()}")

    def work(self, seconds, end, *others):
        """Load for a time, on other rigs too, and then, in the middle of it, end(): no node may go earlier."""
        rigs = (self, *others)
        gone = []

        def now(*_):
            gone.extend(rig for rig in rigs if rig.node.child.poll() is not None)
            end()
            gone.append(None)

        signal.signal(signal.SIGALRM, now)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            was_closed = Traffic([bucket for rig in rigs for bucket in rig.buckets]).work(seconds + yakumo.TIMEOUT_S)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if not was_closed or gone != [None]:
            raise Lie("a node went by itself: " + "\n".join(rig.ending() for rig in rigs))
        for rig in rigs:
            rig.traffic.close()

    def why_refused(self):
        """The line by which the node refused to start, with exit status 1; None: it did not end so."""
        if self.node.child.poll() != 1:
            return None
        lines = re.findall(r"^yakumod: (.+)$", self.node.log(), re.M)
        return lines[0] if len(lines) == 1 and self.node.log().endswith(lines[0] + "\n") else None

    def has_damaged_engine(self, path=None):
        """After a damage, of this file, it ended by a signal, or answers no more: its engine is known for that."""
        status = self.node.child.poll()
        is_crash = status is not None and (status < 0 or "Sanitizer:DEADLYSIGNAL" in self.node.log())
        known = MAY_HANG_ON_DAMAGE if status is None else MAY_CRASH_ON_DAMAGE if is_crash else {}
        patterns = [known[kind.engine] for kind in self.kinds if kind.engine in known]
        return any(path is None or re.search(pattern, path) for pattern in patterns)

    def begin_anew(self):
        """With an empty folder."""
        self.traffic.close()
        self.node.kill()
        shutil.rmtree(self.node.data)
        for bucket in self.buckets:
            bucket.history.forget()

    def ending(self):
        """How the node ended, and its last lines."""
        try:
            status = self.node.child.wait(1)
        except Exception:
            status = "still running"
        return f"status {status}\n" + "\n".join(self.node.log().splitlines()[-20:])

    def signal_kill(self):
        """kill -9, from the middle of whatever this process does."""
        os.kill(self.node.pid, signal.SIGKILL)

    def check_log(self):
        """No lane gave up."""
        found = re.search(r".*(lane stopped|this part of the keys is refused|writes are refused).*", self.node.log())
        if found:
            raise Lie(f"a lane has given up: {found[0]}")

    def summary(self):
        """What was done, in a line for each bucket; also whether it was worth something."""
        for bucket in self.buckets:
            history = bucket.history
            refused = "".join(f"; {n} times {text.decode()}" for text, n in history.refusals.items())
            yield (f"{bucket.name}: {history.n_answers} answers, {history.n_unanswered} without, "
                   f"{history.n_done} of those seen done, {history.n_checked} reads held{refused}")
