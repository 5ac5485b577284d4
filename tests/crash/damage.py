#!/usr/bin/env python3
"""Files of the data folder are damaged while the node is down: it never serves what was never stored.

It serves what is right or was right once, says that a record is damaged or a part of the keys refused, or does
not start, with one clear line. LMDB and Tokyo Cabinet may end by a signal and Berkeley DB may search without end
when certain files of theirs are damaged: known, and excepted in rig.py as in tests/kit/shipped.py.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/crash/damage.py [CASE ...]
YK_ROUNDS=N says how many damages of each engine, YK_SEED=N repeats the choices. See README.md here.
"""
import collections
import copy
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import rig
import yakumo
from yakumo import temporary

N_ROUNDS = rig.n_rounds(14, 400)
PAGE = 4096


def files_by_kind(folder):
    """{kind: paths below the folder}: a file's kind is its path with all numbers alike, so that each gets its turn."""
    kinds = collections.defaultdict(list)
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.relpath(os.path.join(where, name), folder)
            if os.path.getsize(os.path.join(folder, path)) > 0:
                kinds[re.sub(r"\d+", "#", path)].append(path)
    return [sorted(kinds[kind]) for kind in sorted(kinds)]


def flip(chance, data):
    """One bit."""
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def flip_many(chance, data):
    """A few bits, near each other."""
    at = chance.randrange(len(data))
    for _ in range(chance.randint(2, 30)):
        data[min(at + chance.randrange(200), len(data) - 1)] ^= 1 << chance.randrange(8)


def garble(chance, data):
    """A page of something else."""
    at = chance.randrange(len(data)) // PAGE * PAGE
    size = min(PAGE, len(data) - at)
    data[at:at + size] = chance.randbytes(size)


def clear(chance, data):
    """A page of zeros, as a device gives that lost one."""
    at = chance.randrange(len(data)) // PAGE * PAGE
    size = min(PAGE, len(data) - at)
    data[at:at + size] = bytes(size)


def cut(chance, data):
    """Truncated anywhere."""
    del data[chance.randrange(len(data)):]


def cut_end(chance, data):
    """A few bytes are missing at the end."""
    del data[-chance.randint(1, min(len(data), 100)):]


DAMAGES = (flip, flip_many, garble, clear, cut, cut_end)


def inflict(chance, folder):
    """Damages one file; returns its path and what was done, in words."""
    name = chance.choice(chance.choice(files_by_kind(folder)))
    damage = chance.choice(DAMAGES)
    path = os.path.join(folder, name)
    with open(path, "rb") as file:
        data = bytearray(file.read())
    before = bytes(data)
    damage(chance, data)
    with open(path, "wb") as file:
        file.write(data)
    size = min(len(data), len(before))
    at = next((i for i in range(size) if data[i] != before[i]), size)
    return path, f"{damage.__name__} of {name} at {at} of {len(before)}"


class Damaged(rig.Rig):
    """A node that may have lost anything, and stays honest."""

    def outcome(self, path):
        """What it makes of that damaged file, in words. Where it is the engine's own, only reads are asked for: what
        an engine writes into a file whose inside it misreads is anything."""
        try:
            self.start()
            if "/lane-" not in path:
                self.traffic.work(0.03)
            self.node.stop()
        except AssertionError:
            if self.why_refused() is not None:
                return "refused to start"
            if self.has_damaged_engine(path):
                return "engine ended the process or hung, as it is known to"
            raise
        finally:
            self.traffic.close()
            self.node.kill()
        if "this part of the keys is refused" in self.node.log() or "lane stopped" in self.node.log():
            return "served without a lane"
        return "served, some records refused" if any(bucket.n_unreadable for bucket in self.buckets) else "served"

    def start(self):
        """Nothing that is read is new; twice."""
        self.spawn()
        self.traffic.open()
        for bucket in self.buckets:
            bucket.is_old, bucket.n_unreadable = True, 0
            bucket.history.restarted()
        self.check()
        self.check()
        for bucket in self.buckets:
            bucket.is_old = False


def check_damages(kinds):
    chance = yakumo.random_source()
    store = Damaged(kinds, chance.random(), is_prefix=False, may_lose=True)
    whole, place = temporary("whole"), store.node.data
    for end in (store.signal_kill, store.signal_kill):
        store.start()
        store.work(0.2, end)
        store.node.kill()
    shutil.copytree(place, whole)
    before = [bucket.history for bucket in store.buckets]
    outcomes = collections.Counter()
    for i in range(N_ROUNDS):
        rig.progress(f"{kinds[0].engine}: damage {i + 1} of {N_ROUNDS}")
        shutil.rmtree(place)
        shutil.copytree(whole, place)
        take_histories(store, copy.deepcopy(before))
        path, what = inflict(chance, place)
        try:
            outcomes[store.outcome(path)] += 1
        except AssertionError as error:
            raise AssertionError(f"damage {i + 1}: {what}: {error}") from error
    rig.progress("")
    print(f"# {kinds[0].engine}, {N_ROUNDS} damages: " + ", ".join(f"{n} {how}" for how, n in sorted(outcomes.items())))


def take_histories(store, histories):
    for bucket, history in zip(store.buckets, histories):
        bucket.history = history
        for link in bucket.links:
            link.keys = [history.keys[key.name] for key in link.keys]


def case(engine):
    def run():
        yakumo.need_plugin(engine)
        check_damages([kind for kind in rig.KINDS if kind.engine == engine and kind.survives != rig.NOTHING])

    run.__name__ = f"damaged_{engine}"
    return run


yakumo.run(*(case(engine) for engine in dict.fromkeys(
    kind.engine for kind in rig.KINDS if kind.survives != rig.NOTHING)))
