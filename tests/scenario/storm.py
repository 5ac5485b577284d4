#!/usr/bin/env python3
"""Many clients at once that pipeline, stop in the middle, close, reset or go silent, at random from a seed
(YK_SEED): the node serves on, its memory stays bounded, and TERM ends it in the middle of it all.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/storm.py [CASE ...]
"""
import os
import random
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from yakumo import Client, Node, equal

MIB = 1 << 20
RSS_MAX = 200 * MIB * (4 if yakumo.SLOW > 1 else 1)
SECONDS = 20 if yakumo.IS_LONG else 3
N_CLIENTS = 12
SLOW_CONFIG = """
[bucket default]
durability = memory
filters = stats, delay
[filter delay]
get = 200us
apply = 300us
jitter = 200us
[frontend memcached]
listen = 127.0.0.1:0
[node a]
workers = 3
"""
LARGE = b"x" * 300000
COMMANDS = [
    b"get a b c d e f\r\n", b"set a 0 0 5\r\nhello\r\n", b"get b b b b\r\n", b"incr n 1\r\n",
    b"set b 0 1 %d\r\n%s\r\n" % (len(LARGE), LARGE), b"set n 0 0 1\r\n1\r\n", b"delete a\r\n", b"flush_all\r\n",
    b"flush_all 1\r\n", b"stats\r\n", b"stats items\r\n", b"stats conns\r\n", b"lru_crawler metadump all\r\n",
    b"gat 1 a b\r\n", b"touch b 2\r\n", b"append b 0 0 3\r\nabc\r\n", b"cas a 0 0 1 5\r\nx\r\n", b"bogus\r\n",
    b"quit\r\n", b"stats reset\r\n", b"stats cachedump 1 10\r\n", b"set q 0 0 3 noreply\r\nabc\r\n",
    b"set c 0 0 10\r\nabc\r\n", b"gets a b c d\r\n",
]


def speak(connection, chance):
    data = b"".join(chance.choice(COMMANDS) for _ in range(chance.randrange(1, 60)))
    if chance.random() < 0.3:
        data = data[:chance.randrange(len(data))]
    connection.sendall(data)
    while chance.random() < 0.8 and connection.recv(65536):
        pass


def leave(connection, chance):
    if chance.random() < 0.5:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif chance.random() < 0.5:
        connection.shutdown(socket.SHUT_WR)
    connection.close()


def rage(address, chance, stop):
    while not stop.is_set():
        try:
            with socket.create_connection(address, timeout=0.2) as connection:
                for _ in range(chance.randrange(1, 6)):
                    speak(connection, chance)
                leave(connection, chance)
        except OSError:
            pass  # reset, closed, refused or silent: all of it is to be expected


def storm(node):
    """Returns what ends the clients."""
    chance = yakumo.random_source()
    stop = threading.Event()
    threads = [threading.Thread(target=rage, args=(node.address(), random.Random(chance.random()), stop))
               for _ in range(N_CLIENTS)]
    for thread in threads:
        thread.start()

    def end():
        stop.set()
        for thread in threads:
            thread.join()
    return end


def check_storm(node):
    end = storm(node)
    try:
        rss = 0
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            with node.client() as client:
                equal(client.set(b"mine", b"value"), b"STORED")
                client.get(b"mine")  # there, or flushed by somebody
            rss = max(rss, node.rss())
            time.sleep(0.05)
        node.stop()  # with all of them still there
    finally:
        end()
    print(f"# greatest resident memory {rss // MIB} MiB", flush=True)
    assert rss < RSS_MAX, f"{rss // MIB} MiB of memory"


def on_three_workers():
    check_storm(Node(options=["node.workers=3"]))


def on_a_slow_engine():
    check_storm(Node(SLOW_CONFIG))


def large_sets_to_a_slow_engine():
    """Requests that wait are bounded by their bytes, not only by their number."""
    node = Node(SLOW_CONFIG)
    n = 200
    value = b"v" * (MIB - 100)
    with Client(node.address()) as client:
        def write():
            for i in range(n):
                client.send(b"set k%d 0 0 %d\r\n%s\r\n" % (i % 5, len(value), value))
        writer = threading.Thread(target=write)
        writer.start()
        rss = 0
        for i in range(n):
            equal(client.line(), b"STORED", f"answer {i}")
            rss = max(rss, node.rss())
        writer.join()
    print(f"# greatest resident memory {rss // MIB} MiB", flush=True)
    assert rss < RSS_MAX, f"{rss // MIB} MiB of memory"


yakumo.run(on_three_workers, on_a_slow_engine, large_sets_to_a_slow_engine)
