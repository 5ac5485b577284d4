#!/usr/bin/env python3
"""kill -9 at any moment, again and again: nothing that was acknowledged is lost, nothing refused appears.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/crash/kill.py
YK_ROUNDS=N says how often, YK_SEED=N repeats the choices. See README.md here.
"""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import rig
import yakumo
from history import Lie

N_ROUNDS = rig.n_rounds(45, 1000)
REFUSED_MAX = 0.02  # of all answers: more, and the test would show little


def interrupted_starts(store, chance, n):
    """The node is killed before it is ready, or just then. One whose address is still held by the ring of the node
    that was killed before it (see Rig.spawn) has ended already, before it served."""
    for _ in range(n):
        store.node.spawn()
        time.sleep(chance.uniform(0, store.start_s * 1.1))
        if store.node.child.poll() is not None and "Address already in use" not in store.node.log():
            raise Lie(f"the node did not start: {store.ending()}")
        store.node.kill()


def one_round(store, chance, ends):
    if chance.random() < 0.25:
        ends["in a start"] += 1
        interrupted_starts(store, chance, 1)
    elif chance.random() < 0.1:
        ends["in two starts in a row"] += 1
        interrupted_starts(store, chance, 2)
    if chance.random() < 0.15:
        ends["new number of workers"] += 1
        store.set_workers(chance.randint(1, rig.WORKERS_MAX))
    store.start()
    store.check_log()
    seconds = chance.uniform(0.01, 0.3)
    if chance.random() < 0.1:
        ends["by TERM"] += 1
        store.work(seconds, lambda: store.node.send_signal(signal.SIGTERM))
        store.node.stop(None)
    else:
        ends["in work"] += 1
        store.work(seconds, store.signal_kill)
        store.node.kill()
    store.check_log()


def kill_and_start_again():
    chance = yakumo.random_source()
    store = rig.Rig(rig.built(), chance.random())
    ends = {"in work": 0, "in a start": 0, "in two starts in a row": 0, "by TERM": 0, "new number of workers": 0}
    began = time.monotonic()
    for i in range(N_ROUNDS):
        rig.progress(f"round {i + 1} of {N_ROUNDS}, {store.traffic.n_answers()} answers, a start "
                     f"takes {store.start_s * 1000:.0f} ms")
        try:
            one_round(store, chance, ends)
        except AssertionError as error:
            raise AssertionError(f"round {i + 1}: {error}") from error
    rig.progress("")
    store.start()
    store.traffic.close()
    store.node.stop()
    took = time.monotonic() - began
    print(f"# {N_ROUNDS} rounds in {took:.1f} s; ended " + ", ".join(f"{n} {how}" for how, n in ends.items()))
    for line in store.summary():
        print(f"# {line}")
    for bucket in store.buckets:
        n_refused = bucket.history.refusals.total()
        assert n_refused <= REFUSED_MAX * bucket.history.n_answers, f"{bucket.name} refused {n_refused} commands"


def a_node_that_forgets_is_seen_through():
    """Else the rest would show nothing: a bucket in memory is said to survive."""
    store = rig.Rig([rig.Kind("memory", "memory", rig.KILL)], 1)
    store.start()
    store.work(0.2, store.signal_kill)
    store.node.kill()
    try:
        store.start()
    except Lie as lie:
        yakumo.matches(str(lie), "there is no record")
        store.traffic.close()
        return
    raise AssertionError("an empty bucket was taken for a full one")


yakumo.run(a_node_that_forgets_is_seen_through, kill_and_start_again)
