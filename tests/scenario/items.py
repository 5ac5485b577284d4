#!/usr/bin/env python3
"""Memory and time: full buckets, eviction, expiry, flush_all.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/items.py [CASE ...]
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from yakumo import Node, equal, eventually, matches

MIB = 1 << 20
OUT_OF_MEMORY = b"SERVER_ERROR out of memory storing object"


def config(bucket, n_workers=2):
    return f"""
[bucket default]
durability = memory
{bucket}
[frontend memcached]
listen = 127.0.0.1:0
[node a]
workers = {n_workers}
"""


def a_full_bucket_refuses():
    node = Node(config("memory_max = 16M"))
    with node.client() as client:
        n_stored = 0
        for i in range(400):
            answer = client.set(b"k%d" % i, b"x" * 100000)
            if answer == b"STORED":
                n_stored += 1
            else:
                equal(answer, OUT_OF_MEMORY, "answer of the full bucket")
        stats = client.stats()
        equal(int(stats["curr_items"]), n_stored, "curr_items")
        equal(int(stats["evictions"]), 0, "evictions")
        equal(int(stats["limit_maxbytes"]), 16 * MIB, "limit_maxbytes")
        assert int(stats["bytes"]) <= 16 * MIB, "more than memory_max"
        assert n_stored * 100000 > 8 * MIB, f"only {n_stored} of 160 fit"
        # What is there can be read and deleted; then there is room again.
        n_found = 0
        for i in range(400):
            n_found += client.get(b"k%d" % i) is not None
        equal(n_found, n_stored, "items found")
        for i in range(400):
            client.ask(b"delete k%d" % i)
        equal(client.stats()["curr_items"], "0", "curr_items")
        for i in range(50):
            equal(client.set(b"again%d" % i, b"x" * 100000), b"STORED", "after the deletes")


def an_overwrite_in_a_full_bucket():
    """A refused set leaves the old value."""
    node = Node(config("memory_max = 16M"))
    with node.client() as client:
        for i in range(400):
            client.set(b"k%d" % i, b"x" * 100000)
        stored = [i for i in range(400) if client.get(b"k%d" % i) is not None]
        answers = {client.set(b"k%d" % i, b"y" * 900000) for i in stored[:20]}
        assert OUT_OF_MEMORY in answers, f"answers {answers}"
        for i in stored[:20]:
            value = client.get(b"k%d" % i)
            assert value in (b"x" * 100000, b"y" * 900000), f"value of k{i}"


def eviction_keeps_memory_bounded():
    node = Node(config("memory_max = 16M\nevict = s3fifo\nvalue_size_max = 200K"))
    n = 2000 // (4 if yakumo.SLOW > 1 else 1)
    with node.client() as client:
        client.is_served()
        before = node.rss()
        client.set(b"often", b"used")
        for i in range(n):
            equal(client.set(b"k%d" % i, b"x" * 50000), b"STORED", f"answer {i}")
            equal(client.get(b"often"), b"used", f"a key that is read all the time, after {i}")
        stats = client.stats()
        assert int(stats["evictions"]) >= n - 16 * MIB // 50000, "evictions"
        assert int(stats["bytes"]) <= 16 * MIB, "more than memory_max"
        grown = node.rss() - before
        print(f"# resident memory grew by {grown // MIB} MiB", flush=True)
        assert grown < (40 if yakumo.SLOW == 1 else 400) * MIB, f"memory grew by {grown // MIB} MiB"
        equal(client.get(b"k%d" % (n - 1)), b"x" * 50000, "the newest")


def small_items_evict_too():
    node = Node(config("memory_max = 8M\nevict = s3fifo\nvalue_size_max = 64K"))
    n = 200 // yakumo.SLOW * 1000
    with node.client() as client:
        for at in range(0, n, 1000):
            client.send(b"".join(b"set key-%d 0 0 20 noreply\r\n%020d\r\n" % (i, i)
                                 for i in range(at, at + 1000)))
        equal(client.get(b"key-%d" % (n - 1)), b"%020d" % (n - 1), "the newest")
        stats = client.stats()
        equal(int(stats["cmd_set"]), n, "cmd_set")
        assert int(stats["bytes"]) <= 8 * MIB, "more than memory_max"
        found = 0
        for at in range(0, n, 1000):
            client.send(b"get " + b" ".join(b"key-%d" % i for i in range(at, at + 1000)) + b"\r\n")
            for key, (value, _, _) in client.values().items():
                equal(value, b"%020d" % int(key[4:]), "value of what is left")
                found += 1
        equal(found, int(stats["curr_items"]), "items found")


def memory_max_by_a_client():
    node = Node(config("memory_max = 64M\nevict = s3fifo\nvalue_size_max = 15M"))
    with node.client() as client:
        equal(client.ask(b"cache_memlimit 40"), b"OK")
        equal(int(client.stats()["limit_maxbytes"]), 40 * MIB, "limit_maxbytes")
        matches(client.ask(b"cache_memlimit 1").decode(), "^MEMLIMIT_TOO_SMALL ")
        matches(client.ask(b"cache_memlimit 30").decode(), "^MEMLIMIT_ADJUST_FAILED ")
        for i in range(600):
            equal(client.set(b"k%d" % i, b"x" * 100000), b"STORED")
        assert int(client.stats()["bytes"]) <= 40 * MIB, "more than was asked for"


def expiry():
    """To the millisecond: seconds from now, at once, absolute; by set, touch and gat."""
    node = Node()
    with node.client() as client:
        start = time.time()
        for key, exptime in ((b"one", 1), (b"two", 2), (b"hour", 3600), (b"never", 0), (b"gone", -1),
                             (b"absolute", int(start) + 2), (b"past", int(start) - 10), (b"touched", 1),
                             (b"got", 1), (b"shortened", 0)):
            equal(client.set(key, b"v", exptime=exptime), b"STORED", key.decode())
        stored = time.time()
        equal(client.get(b"gone"), None, "a negative time")
        equal(client.get(b"past"), None, "a time in the past")
        equal(client.ask(b"touch touched 3600"), b"TOUCHED")
        equal(client.ask(b"touch shortened 1"), b"TOUCHED")
        equal(client.ask(b"touch nothing 1"), b"NOT_FOUND")
        client.send(b"gat 3600 got\r\n")
        equal(client.values()[b"got"][0], b"v", "gat")
        if time.time() < start + 0.9:
            equal(client.get(b"one"), b"v", "before its time")
        time.sleep(max(0, stored + 1.05 - time.time()))
        equal(client.get(b"one"), None, "after one second")
        equal(client.get(b"shortened"), None, "after one second")
        if time.time() < start + 1.9:
            equal(client.get(b"two"), b"v", "before its time")
        time.sleep(max(0, stored + 2.05 - time.time()))
        equal(client.get(b"two"), None, "after two seconds")
        equal(client.get(b"absolute"), None, "after its time")
        for key in (b"hour", b"never", b"touched", b"got"):
            equal(client.get(key), b"v", key.decode())
        # What has ended is as if it had never been.
        equal(client.set(b"two", b"new", verb=b"add"), b"STORED")
        equal(client.set(b"one", b"new", verb=b"replace"), b"NOT_STORED")
        equal(client.ask(b"delete one"), b"NOT_FOUND")
        equal(client.ask(b"incr one 1"), b"NOT_FOUND")


def what_has_ended_is_swept():
    """Nobody has to ask for it: its memory comes back."""
    node = Node()
    with node.client() as client:
        for i in range(2000):
            client.send(b"set k%d 0 1 100 noreply\r\n%0100d\r\n" % (i, i))
        equal(client.set(b"stays", b"v"), b"STORED")
        assert int(client.stats()["curr_items"]) > 1, "curr_items"
        eventually(lambda: client.stats()["curr_items"] == "1", 20 * yakumo.SLOW, "the sweep")
        equal(client.get(b"stays"), b"v")


def flush_all():
    node = Node()
    with node.client() as client:
        for i in range(100):
            equal(client.set(b"k%d" % i, b"v"), b"STORED")
        client.send(b"set last 0 0 1\r\nv\r\nflush_all\r\nget last\r\nset after 0 0 1\r\nv\r\nget after\r\n")
        equal(client.line(), b"STORED")
        equal(client.line(), b"OK")
        equal(client.values(), {}, "a key from before, in the same pipeline")
        equal(client.line(), b"STORED")
        equal(client.values(), {b"after": (b"v", 0, None)}, "a key from after")
        for i in range(100):
            equal(client.get(b"k%d" % i), None, f"k{i}")
        equal(client.set(b"k1", b"v", verb=b"add"), b"STORED", "add after the flush")


def flush_all_with_a_delay():
    node = Node()
    with node.client() as client:
        equal(client.set(b"before", b"v"), b"STORED")
        start = time.time()
        equal(client.ask(b"flush_all 1"), b"OK")
        asked = time.time()
        equal(client.set(b"meanwhile", b"v"), b"STORED")
        if time.time() < start + 0.9:
            equal(client.get(b"before"), b"v", "before the time")
        time.sleep(max(0, asked + 1.05 - time.time()))
        equal(client.get(b"before"), None, "from before the command")
        equal(client.get(b"meanwhile"), None, "from before the time")
        equal(client.set(b"after", b"v"), b"STORED")
        equal(client.get(b"after"), b"v", "from after the time")
        time.sleep(0.2)
        equal(client.get(b"after"), b"v", "from after the time, later")


def what_was_flushed_is_swept():
    node = Node()
    with node.client() as client:
        for i in range(2000):
            client.send(b"set k%d 0 0 100 noreply\r\n%0100d\r\n" % (i, i))
        equal(client.ask(b"flush_all"), b"OK")
        eventually(lambda: client.stats()["curr_items"] == "0", 20 * yakumo.SLOW, "the sweep")


def counters_are_right():
    node = Node(options=["node.workers=2"])
    with node.client() as client:
        for i in range(20):
            client.set(b"k%d" % i, b"1")
        for i in range(30):
            client.get(b"k%d" % i)
        client.ask(b"incr k0 1")
        client.ask(b"incr none 1")
        client.ask(b"decr k1 1")
        client.ask(b"delete k2")
        client.ask(b"delete k2")
        client.ask(b"touch k3 0")
        client.ask(b"touch none 0")
        cas = client.gets(b"k4")[1]
        client.set(b"k4", b"x", verb=b"cas", cas=b"%d" % cas)
        client.set(b"k4", b"x", verb=b"cas", cas=b"%d" % cas)
        client.set(b"none", b"x", verb=b"cas", cas=b"1")
        stats = {name: text for name, text in client.stats().items()}
        expected = {"curr_items": 19, "cmd_get": 31, "get_hits": 21, "get_misses": 10, "incr_hits": 1,
                    "incr_misses": 1, "decr_hits": 1, "delete_hits": 1, "delete_misses": 1, "touch_hits": 1,
                    "touch_misses": 1, "cas_hits": 1, "cas_badval": 1, "cas_misses": 1}
        equal({name: int(stats[name]) for name in expected}, expected, "counters")
        equal(client.ask_lines(b"stats reset"), [b"RESET"])
        equal(client.stats()["get_hits"], "0", "get_hits after the reset")
        equal(client.stats()["curr_items"], "19", "curr_items after the reset")


yakumo.run(a_full_bucket_refuses, an_overwrite_in_a_full_bucket, eviction_keeps_memory_bounded,
           small_items_evict_too, memory_max_by_a_client, expiry, what_has_ended_is_swept, flush_all,
           flush_all_with_a_delay, what_was_flushed_is_swept, counters_are_right)
