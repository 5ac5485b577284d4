#!/usr/bin/env python3
"""Clients that are slow, many, or ask for much: memory stays bounded, others are served meanwhile.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/pressure.py [CASE ...]
"""
import os
import selectors
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from yakumo import Client, Node, equal, eventually, matches

MIB = 1 << 20
N_VALUES = 8  # of 1 MiB each
RSS_MAX = 200 * MIB * (3 if yakumo.SLOW > 1 else 1)
SLOW_CONFIG = """
[bucket default]
durability = memory
filters = delay
[filter delay]
get = 1ms
apply = 1ms
[frontend memcached]
listen = 127.0.0.1:0
[node a]
"""


def block(i):
    return (b"%07d\n" % i) * (MIB // 8)


def store_blocks(node):
    with node.client() as client:
        for i in range(N_VALUES):
            equal(client.set(b"block-%d" % i, block(i)), b"STORED")


def check_client_that_does_not_read(node):
    """2 KB of pipelined gets that ask for 170 MiB."""
    store_blocks(node)
    n_gets = 2048 // len(b"get block-0\r\n")
    with Client(node.address(), receive_buffer=64 * 1024) as lazy:
        lazy.send(b"".join(b"get block-%d\r\n" % (i % N_VALUES) for i in range(n_gets)))
        rss = 0
        end = time.monotonic() + 1.0
        with node.client() as other:
            while time.monotonic() < end:
                start = time.monotonic()
                other.is_served()
                assert time.monotonic() - start < 1.0 * yakumo.SLOW, "others have to wait"
                rss = max(rss, node.rss())
        print(f"# greatest resident memory {rss // MIB} MiB", flush=True)
        assert rss < RSS_MAX, f"{rss // MIB} MiB of memory"
        for i in range(n_gets):
            name = b"block-%d" % (i % N_VALUES)
            found = lazy.values()
            equal(list(found), [name], f"keys of answer {i}")
            equal(found[name][0], block(i % N_VALUES), f"value of answer {i}")
        lazy.is_served()


def a_client_that_does_not_read():
    check_client_that_does_not_read(Node(options=["node.workers=1"]))


def a_client_that_does_not_read_on_two_workers():
    check_client_that_does_not_read(Node(options=["node.workers=2"]))


def a_client_that_does_not_read_from_a_slow_engine():
    check_client_that_does_not_read(Node(SLOW_CONFIG))


def many_clients_that_do_not_read():
    node = Node()
    store_blocks(node)
    clients = []
    for _ in range(20):
        client = Client(node.address(), receive_buffer=64 * 1024)
        client.send(b"get " + b" ".join(b"block-%d" % i for i in range(N_VALUES)) + b"\r\n")
        clients.append(client)
    time.sleep(0.5)
    # Each may hold one value and what its socket takes, not all that it asked for.
    rss = node.rss()
    print(f"# resident memory {rss // MIB} MiB", flush=True)
    assert rss < RSS_MAX, f"{rss // MIB} MiB of memory"
    node.client().is_served()
    for client in clients:
        client.close()
    with node.client() as client:
        eventually(lambda: client.stats()["curr_connections"] == "1", what="the end of the others")


def check_order_behind_a_full_output(node):
    """A read that has no room is done later; what changes its key behind it still comes after it."""
    client = node.client()
    big = b"b" * 700000
    keys = [b"k%d" % i for i in range(8)]
    client.set(b"big", big)
    for key in keys:
        client.set(key, b"old")

    def expect(found, key, what):
        got = client.values()
        equal({name: value for name, (value, _, _) in got.items()}, found, f"{key}: {what}")

    client.send(b"get big\r\n" * 3 +
                b"".join(b"get %b\r\nset %b 0 0 3\r\nnew\r\nget %b\r\ndelete %b\r\nget %b\r\n" % ((key,) * 5)
                         for key in keys))
    time.sleep(0.2)
    for _ in range(3):
        expect({b"big": big}, b"big", "a large value")
    for key in keys:
        expect({key: b"old"}, key, "before the set")
        equal(client.line(), b"STORED", "set")
        expect({key: b"new"}, key, "after the set")
        equal(client.line(), b"DELETED", "delete")
        expect({}, key, "after the deletion")


def the_order_behind_a_full_output():
    check_order_behind_a_full_output(Node(options=["node.workers=1"]))


def the_order_behind_a_full_output_of_two_workers():
    check_order_behind_a_full_output(Node(options=["node.workers=2"]))


def a_client_that_does_not_read_goes_away():
    node = Node()
    store_blocks(node)
    before = node.n_descriptors()
    for _ in range(10):
        with Client(node.address(), receive_buffer=64 * 1024) as client:
            client.send(b"get block-0\r\n" * 100)
            client.bytes(1000)
    eventually(lambda: node.n_descriptors() <= before, what="the close of the connections")
    node.client().is_served()


def a_pipeline_of_100000_commands():
    """Sent without reading until the socket is full, as a careless client does."""
    node = Node()
    n = 100000 // (10 if yakumo.SLOW > 1 else 1)
    sent, expected = bytearray(), bytearray()
    for i in range(n // 4):
        sent += b"set k%d 0 0 4\r\n%04d\r\nget k%d\r\nincr k%d 1\r\ndelete k%d\r\n" % (i, i % 9000, i, i, i)
        expected += b"STORED\r\nVALUE k%d 0 4\r\n%04d\r\nEND\r\n%d\r\nDELETED\r\n" % (
            i, i % 9000, i % 9000 + 1)
    with node.client() as client:
        equal(exchange(client.socket, bytes(sent), len(expected)), bytes(expected), "answers")
        client.is_served()


def exchange(sock, sent, expected_size):
    """Sends and receives as the socket allows; returns what came."""
    came, at = bytearray(), 0
    sock.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while len(came) < expected_size:
            ready = selector.select(yakumo.TIMEOUT_S)
            assert ready, f"no answer after {len(came)} of {expected_size} bytes"
            if ready[0][1] & selectors.EVENT_WRITE:
                if at < len(sent):
                    at += sock.send(sent[at:at + 65536])
                else:
                    selector.modify(sock, selectors.EVENT_READ)
            if ready[0][1] & selectors.EVENT_READ:
                data = sock.recv(1 << 18)
                assert data, f"closed after {len(came)} of {expected_size} bytes"
                came += data
    sock.setblocking(True)
    sock.settimeout(yakumo.TIMEOUT_S)
    return bytes(came)


def pipelines_of_many_clients():
    node = Node(options=["node.workers=2"])
    clients = [node.client() for _ in range(30)]
    for n, client in enumerate(clients):
        client.send(b"".join(b"set c%d-%d 0 0 1 noreply\r\nx\r\nget c%d-%d\r\n" % (n, i, n, i)
                             for i in range(200)))
    for n, client in enumerate(clients):
        for i in range(200):
            equal(client.values(), {b"c%d-%d" % (n, i): (b"x", 0, None)}, "a read after a write")
        client.close()


def a_writer_byte_by_byte():
    node = Node()
    with node.client() as client:
        for byte in b"set k 5 0 10\r\n0123456789\r\nget k\r\nget k k2 k\r\n":
            client.send(bytes([byte]))
            time.sleep(0.001)
        equal(client.line(), b"STORED")
        equal(client.values(), {b"k": (b"0123456789", 5, None)})
        equal([client.line() for _ in range(5)],
              [b"VALUE k 5 10", b"0123456789", b"VALUE k 5 10", b"0123456789", b"END"])


def a_reader_byte_by_byte():
    node = Node()
    with node.client() as client:
        value = bytes(range(256)) * 4
        equal(client.set(b"k", value), b"STORED")
        client.send(b"get k\r\n")
        expected = b"VALUE k 0 1024\r\n" + value + b"\r\nEND\r\n"
        equal(b"".join(client.socket.recv(1) for _ in expected), expected)


def a_large_value_in_small_pieces():
    node = Node()
    value = block(3)
    with node.client() as client, node.client() as other:
        client.send(b"set k 0 0 %d\r\n" % len(value))
        for at in range(0, len(value), 8192):
            client.send(value[at:at + 8192])
            if at % (128 * 1024) == 0:
                other.is_served()
        client.send(b"\r\n")
        equal(client.line(), b"STORED")
        equal(client.get(b"k"), value, "value")


def max_connections():
    node = Node(options=["node.max_connections=10"])
    clients = [node.client() for _ in range(10)]
    for client in clients:
        client.is_served()
    for _ in range(5):
        with node.client() as refused:
            try:
                equal(refused.rest(), b"", "answer to one too many")
            except ConnectionResetError:
                pass
    for client in clients:
        client.is_served()
    equal(clients[0].stats()["rejected_connections"], "5", "rejected_connections")
    matches(node.log(), "max_connections is reached")
    clients.pop().close()

    def is_let_in():
        with node.client() as client:
            try:
                return client.is_served()
            except (AssertionError, OSError):
                return False

    eventually(is_let_in, what="a place that was left being given again")


def thousands_of_connections_opened_and_dropped():
    node = Node()
    n = 3000 // yakumo.SLOW
    with node.client() as client:
        client.is_served()
        before = None
        for i in range(n):
            with socket.create_connection(node.address(), yakumo.TIMEOUT_S) as dropped:
                if i % 3 == 1:
                    dropped.sendall(b"get nothing\r\n")
                if i % 3 == 2:
                    dropped.sendall(b"set half 0 0 100\r\nab")
            if i == n // 3:
                before = node.rss()
        eventually(lambda: client.stats()["curr_connections"] == "1", what="the end of the others")
        equal(int(client.stats()["total_connections"]), n + 1, "total_connections")
        assert node.rss() - before < 16 * MIB * yakumo.SLOW, "memory grew"
        client.is_served()


def a_thousand_connections_at_once():
    node = Node(options=["node.max_connections=1100", "node.workers=2"])
    n = 1000 // yakumo.SLOW
    yakumo.raise_descriptors(n + 100)
    clients = [node.client() for _ in range(n)]
    for i, client in enumerate(clients):
        client.send(b"set k%d 0 0 1\r\n1\r\n" % i)
    for client in clients:
        equal(client.line(), b"STORED")
    for client in clients:
        client.close()
    with node.client() as client:
        eventually(lambda: client.stats()["curr_connections"] == "1", what="the end of the others")


def ten_thousand_idle_connections():
    """They cost little, and are all served when they speak."""
    node = Node(options=["node.max_connections=10100", "node.workers=1"])
    n = 10000 // (10 if yakumo.SLOW > 1 else 1)
    yakumo.raise_descriptors(n + 100)
    active = node.client()
    active.set(b"k", b"v")
    before = node.rss()
    clients = [node.client() for _ in range(n)]
    for _ in range(100):
        equal(active.get(b"k"), b"v")
    if yakumo.SLOW == 1:
        each = (node.rss() - before) / n
        assert each < 4096, f"{each:.0f} bytes for each idle connection"
    for client in clients:
        client.send(b"get k\r\n")
    for client in clients:
        equal(client.bytes(len(b"VALUE k 0 1\r\nv\r\nEND\r\n")), b"VALUE k 0 1\r\nv\r\nEND\r\n")
        client.close()
    eventually(lambda: active.stats()["curr_connections"] == "1", what="the end of the others")


def an_idle_connection_is_closed():
    node = Node(options=["frontend.memcached.idle_timeout=1s"])
    start = time.monotonic()
    with node.client() as client:
        client.is_served()
        equal(client.rest(), b"", "what came at the close")
        took = time.monotonic() - start
        assert 0.8 < took < 3 * yakumo.SLOW, f"closed after {took:.1f} s"


yakumo.run(a_client_that_does_not_read, a_client_that_does_not_read_on_two_workers,
           a_client_that_does_not_read_from_a_slow_engine, many_clients_that_do_not_read,
           the_order_behind_a_full_output, the_order_behind_a_full_output_of_two_workers,
           a_client_that_does_not_read_goes_away, a_pipeline_of_100000_commands,
           pipelines_of_many_clients, a_writer_byte_by_byte, a_reader_byte_by_byte,
           a_large_value_in_small_pieces, max_connections,
           thousands_of_connections_opened_and_dropped, a_thousand_connections_at_once,
           ten_thousand_idle_connections, an_idle_connection_is_closed)
