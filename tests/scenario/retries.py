#!/usr/bin/env python3
"""Clients of nodes that live notice no more than a pause when another one is killed or stands still: what nobody knows
about is sent again by their node, and done once.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/retries.py [CASE ...]
YK_ROUNDS=N: so many rounds of each case.
"""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from servers import NAMES, Servers
from yakumo import SLOW, equal, rounds

CLIENTS = 24  # of each node that lives, each with a counter of its own
PAUSE_S = 3.0 * SLOW


class Counter(threading.Thread):
    """Counts in one key, and takes down what it is told instead of the next number."""

    def __init__(self, servers, name, key):
        super().__init__()
        self.client = servers.client(name, 20 * SLOW)
        self.key, self.number, self.wrong, self.longest_s, self.ends = key, 0, [], 0.0, False
        equal(self.client.set(key, b"0"), b"STORED", f"set {key}")

    def run(self):
        with self.client:
            while not self.ends and not self.wrong:
                begun = time.monotonic()
                self.client.send(b"incr %s 1\r\n" % self.key)
                answer = self.client.line()
                self.longest_s = max(self.longest_s, time.monotonic() - begun)
                self.number += 1
                if answer != b"%d" % self.number:
                    self.wrong.append((self.key, self.number, answer))


def count_through(servers, fault, victim):
    counters = [Counter(servers, name, b"counter-%s-%d" % (name.encode(), i))
                for name in NAMES if name != victim for i in range(CLIENTS)]
    for counter in counters:
        counter.start()
    time.sleep(0.3 * SLOW)
    fault(victim)
    time.sleep(2.5 * SLOW)
    for counter in counters:
        counter.ends = True
    for counter in counters:
        counter.join()
    print(f"# {sum(counter.number for counter in counters)} counted, the longest waited "
          f"{max(counter.longest_s for counter in counters):.2f} s", flush=True)
    equal([wrong for counter in counters for wrong in counter.wrong], [], "counts that are wrong")


def through(make_fault, **options):
    with Servers(**options) as servers:
        for i in range(rounds(3, 60)):
            count_through(servers, make_fault(servers), NAMES[i % 3])
            for name in NAMES:
                if name not in servers.nodes:
                    servers.start(name)
            servers.wait_whole()


def a_server_is_killed():
    through(lambda servers: servers.kill)


def a_server_is_killed_and_started_at_once():
    def kill_and_start(servers, victim):
        servers.kill(victim)
        servers.start(victim)
    through(lambda servers: lambda victim: kill_and_start(servers, victim))


def a_server_stands_still():
    def pause(servers, victim):
        servers.nodes[victim].pause()
        time.sleep(PAUSE_S)
        servers.nodes[victim].resume()
    through(lambda servers: lambda victim: pause(servers, victim))


def a_server_that_forgets_is_killed():
    through(lambda servers: servers.kill, durability="memory")


yakumo.run(a_server_is_killed, a_server_is_killed_and_started_at_once, a_server_stands_still,
           a_server_that_forgets_is_killed)
