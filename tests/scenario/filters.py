#!/usr/bin/env python3
"""The filters that are shipped, in a running node: readonly before the router, stats, delay and fault over
the engine.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/filters.py [CASE ...]
"""
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from yakumo import Node, equal, matches

READ_FAILED = b"SERVER_ERROR"
N_KEYS = 200


def config(filters, options="", frontend="", node=""):
    return f"""
[bucket default]
durability = memory
filters = {filters}
{options}
[frontend memcached]
listen = 127.0.0.1:0
{frontend}
[node a]
workers = 2
{node}
"""


def readonly_refuses_what_changes():
    node = Node("""
[bucket default]
durability = memory
[frontend memcached]
listen = 127.0.0.1:0
request_filters = readonly
allow_shutdown = yes
[frontend memcached 2]
listen = 127.0.0.1:0
[node a]
""")
    with node.client("memcached") as reader, node.client("memcached 2") as writer:
        equal(writer.set(b"k", b"10"), b"STORED")
        cas = writer.gets(b"k")[1]
        refusal = b"SERVER_ERROR this listener is read only"
        for verb in (b"set", b"add", b"replace", b"append", b"prepend"):
            equal(reader.set(b"k", b"x", verb=verb), refusal, verb.decode())
        equal(reader.set(b"k", b"x", verb=b"cas", cas=b"%d" % cas), refusal, "cas")
        for command in (b"incr k 1", b"decr k 1", b"delete k", b"touch k 10", b"gat 10 k", b"flush_all",
                        b"cache_memlimit 64", b"mg k T10", b"mg k R10", b"mg none N10", b"md k I q", b"ma k q"):
            equal(reader.ask(command), refusal, command.decode())
        with node.client("memcached") as other:
            equal(other.ask(b"shutdown"), refusal, "shutdown")
        reader.send(b"set k 0 0 1 noreply\r\nx\r\ndelete k noreply\r\n")
        equal(reader.get(b"k"), b"10", "the value that others wrote")
        equal(reader.gets(b"k"), (b"10", cas), "its CAS unique")
        assert int(reader.stats()["curr_items"]) == 1, "stats"
        equal(writer.ask(b"md k I"), b"HD", "md I")
        assert b"W" not in reader.ask(b"mg k"), "mg of a stale record was won where nothing may change"
        equal(writer.ask(b"mg k"), b"HD X W", "mg of it where one may")
        matches(reader.ask(b"version").decode(), "^VERSION ")
        writer.is_served()


def stats_are_counted():
    node = Node(config("stats"))
    with node.client() as client:
        for i in range(N_KEYS):
            equal(client.set(b"k%d" % i, b"x" * 100), b"STORED")
        for i in range(N_KEYS + 50):
            client.get(b"k%d" % i)
        for i in range(10):
            equal(client.ask(b"delete k%d" % i), b"DELETED")
        figures = {name: int(text) for name, text in client.stats().items() if name.startswith("store_")}
        equal(figures["store_put_keys"], N_KEYS, "store_put_keys")
        equal(figures["store_delete_keys"], 10, "store_delete_keys")
        # A delete reads before it writes.
        equal(figures["store_get_keys"], N_KEYS + 50 + 10, "store_get_keys")
        equal(figures["store_get_hits"], N_KEYS + 10, "store_get_hits")
        assert figures["store_put_bytes"] > N_KEYS * 100, "store_put_bytes"
        equal(figures["store_errors"], 0, "store_errors")
        equal(figures["store_refused"], 0, "store_refused")


def stats_see_what_lies_below():
    """Its place in the list is its place in the stack: above fault it counts the errors, below not."""
    for filters, expected in (("stats, fault", N_KEYS), ("fault, stats", 0)):
        node = Node(config(filters, "[filter fault]\nget = 100%"))
        with node.client() as client:
            for i in range(N_KEYS):
                matches(client.ask(b"get k%d" % i).decode(), "^SERVER_ERROR ")
            equal(int(client.stats()["store_errors"]), expected, f"store_errors with {filters}")
        node.stop()


def delay_delays_and_keeps_order():
    delay_ms = 50 * yakumo.SLOW
    node = Node(config("delay", f"[filter delay]\nget = {delay_ms}ms\napply = {delay_ms}ms\njitter = 5ms"))
    with node.client() as client:
        start = time.monotonic()
        client.is_served()
        took_ms = (time.monotonic() - start) * 1000
        assert took_ms >= 2 * delay_ms, f"set and get took {took_ms:.0f} ms"
        # A pipeline of one key is answered in order, and a lane's calls go into a few batches.
        start = time.monotonic()
        client.send(b"".join(b"set k 0 0 4\r\n%04d\r\nget k\r\n" % i for i in range(5)))
        for i in range(5):
            equal(client.line(), b"STORED")
            equal(client.values(), {b"k": (b"%04d" % i, 0, None)}, f"read after write {i}")
        # What is asked of many lanes at once waits together.
        start = time.monotonic()
        client.send(b"get " + b" ".join(b"k%d" % i for i in range(100)) + b"\r\n")
        equal(client.values(), {}, "values")
        took_ms = (time.monotonic() - start) * 1000
        assert took_ms < 100 * delay_ms / 4, f"100 keys took {took_ms:.0f} ms: one after another"


def others_are_served_while_an_engine_sleeps():
    """The bucket that blocks runs on executor threads; the loop and another bucket do not wait."""
    node = Node(f"""
[bucket slow]
durability = memory
filters = delay
[bucket fast]
durability = memory
[filter delay]
get = {1000 * yakumo.SLOW}ms
[frontend memcached]
listen = 127.0.0.1:0
bucket = slow
[frontend memcached 2]
listen = 127.0.0.1:0
bucket = fast
[node a]
workers = 1
""")
    with node.client("memcached") as slow, node.client("memcached 2") as fast:
        start = time.monotonic()
        slow.send(b"get k\r\n")
        for _ in range(20):
            fast.is_served()
        assert time.monotonic() - start < 0.9 * yakumo.SLOW, "the fast bucket waited for the slow one"
        equal(slow.values(), {}, "values")


def fault_get_errors_are_answered():
    node = Node(config("fault", "[filter fault]\nget = 30%"))
    with node.client() as client:
        for i in range(N_KEYS):
            equal(client.set(b"k%d" % i, b"v"), b"STORED")
        answers = [client.get(b"k%d" % i) for i in range(N_KEYS)]
        n_failed = sum(answer != b"v" for answer in answers)
        assert 0 < n_failed < N_KEYS, f"{n_failed} failed"
        for answer in answers:
            if answer != b"v":
                matches(answer.decode(), "^SERVER_ERROR ", "answer")
        # What must read before it writes says so too, and changes nothing.
        equal(client.set(b"n", b"0"), b"STORED")
        n_done = 0
        for _ in range(N_KEYS):
            answer = client.ask(b"incr n 1")
            if answer.startswith(b"SERVER_ERROR "):
                assert b"outcome unknown" not in answer, "nothing was done, and it says it does not know"
            else:
                n_done += 1
                equal(answer, b"%d" % n_done, "answer to incr")
        assert 0 < n_done < N_KEYS, f"{n_done} done"
        assert int(client.stats()["faults_injected"]) >= n_failed, "faults_injected"


def fault_in_the_middle_of_a_get():
    """The error line stands in place of END, and what is asked next is answered."""
    node = Node(config("fault", "[filter fault]\nget = 20%"))
    with node.client() as client:
        for i in range(N_KEYS):
            equal(client.set(b"k%d" % i, b"v"), b"STORED")
        client.send(b"get " + b" ".join(b"k%d" % i for i in range(N_KEYS)) + b"\r\nversion\r\n")
        matches(client.values().decode(), "^SERVER_ERROR ", "end of the answer")
        matches(client.line().decode(), "^VERSION ", "the next answer")


def fault_admit_refuses():
    node = Node(config("fault", "[filter fault]\nadmit = 50%"))
    with node.client() as client:
        stored = set()
        for i in range(N_KEYS):
            answer = client.set(b"k%d" % i, b"v")
            if answer == b"STORED":
                stored.add(i)
            else:
                matches(answer.decode(), "^SERVER_ERROR (no space left|out of memory storing object)$")
        assert 0 < len(stored) < N_KEYS, f"{len(stored)} stored"
        for i in range(N_KEYS):
            equal(client.get(b"k%d" % i), b"v" if i in stored else None, f"value of k{i}")


def fault_apply_stops_its_lane_only():
    """An apply that failed after the decision may have done anything: its lane serves no more. The others,
    and the node, do."""
    node = Node(config("fault", "[filter fault]\napply = 0.2%\nafter = 5"))
    with node.client() as client:
        failed, stored, answers = set(), {}, []
        for i in range(100 * N_KEYS):
            name = b"k%d" % (i % N_KEYS)
            answer = client.set(name, b"%d" % i)
            answers.append(answer)
            if answer != b"STORED":
                failed.add(name)
            else:
                assert name not in failed, f"{name} was stored after its lane had stopped"
                stored[name] = b"%d" % i
            if failed and i >= 10 * N_KEYS:
                break
        stopped = re.findall(r"lane stopped: .* lane=(\d+) ", node.log())
        assert 0 < len(stopped) < 16, f"{len(stopped)} of 16 lanes stopped: the test shows nothing"
        equal(len(stopped), len(set(stopped)), "lines for each stopped lane")
        # The first failure of each lane is the one whose outcome is not known; the rest surely failed.
        equal(answers.count(b"SERVER_ERROR outcome unknown"), len(stopped), "answers that do not know")
        n_served = 0
        for i in range(N_KEYS):
            name = b"k%d" % i
            answer = client.get(name)
            if name in failed or answer != stored[name]:
                matches(answer.decode(), "^SERVER_ERROR .*failed; see the log", f"get k{i}")
            else:
                n_served += 1
        assert n_served > 0, "no key is served"
        matches(client.ask(b"version").decode(), "^VERSION ")
    node.stop()
    node = Node(config("fault"), data=node.data)
    node.client().is_served()


def all_of_them_at_once():
    node = Node(config("stats, delay, fault", "[filter delay]\nget = 1ms\napply = 1ms\n[filter fault]\nget = 1%",
                       frontend="request_filters = readonly"))
    with node.client() as client:
        for i in range(50):
            answer = client.get(b"k%d" % i)
            assert answer is None or answer.startswith(READ_FAILED), "answer"


yakumo.run(readonly_refuses_what_changes, stats_are_counted, stats_see_what_lies_below,
           delay_delays_and_keeps_order, others_are_served_while_an_engine_sleeps,
           fault_get_errors_are_answered, fault_in_the_middle_of_a_get, fault_admit_refuses,
           fault_apply_stops_its_lane_only, all_of_them_at_once)
