#!/usr/bin/env python3
"""Many items of 100 bytes through the frontend, read back and compared: 1 000 000 with YK_LONG=1, else 100 000. On
the engines that keep them also after TERM and a restart, and after kill -9 and a restart.

Run alone, in a build folder: top_srcdir=.. top_builddir=. YK_LONG=1 python3 ../tests/interop/million.py [CASE ...]
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from yakumo import Client, Node, equal

N_ITEMS = 1000000 if yakumo.IS_LONG else 100000 // (10 if yakumo.IS_VALGRIND else 1)
N_CONNECTIONS = 4
BATCH = 1000
VALUE_SIZE = 100


def value(i):
    return b"%010d" % i * (VALUE_SIZE // 10)


def batches():
    """(connection's index, range of items): neighbouring batches go to different connections."""
    for number, start in enumerate(range(0, N_ITEMS, BATCH)):
        yield number % N_CONNECTIONS, range(start, min(start + BATCH, N_ITEMS))


def in_turn(clients, request_of, answer_of, shift):
    """Each connection has one batch under way while the others' answers are read."""
    waiting = {}
    for index, items in batches():
        client = clients[(index + shift) % N_CONNECTIONS]
        if client in waiting:
            check(client, waiting.pop(client), answer_of)
        client.send(request_of(items))
        waiting[client] = items
    for client, items in waiting.items():
        check(client, items, answer_of)


def check(client, items, answer_of):
    expected = answer_of(items)
    if client.bytes(len(expected)) != expected:
        raise AssertionError(f"a wrong answer for items {items.start} to {items.stop - 1}")


def set_request(items):
    return b"".join([b"set item:%d %d 0 100\r\n%b\r\n" % (i, i, value(i)) for i in items])


def set_answer(items):
    return b"STORED\r\n" * len(items)


def get_request(items):
    return b"get " + b" ".join([b"item:%d" % i for i in items]) + b"\r\n"


def get_answer(items):
    return b"".join([b"VALUE item:%d %d 100\r\n%b\r\n" % (i, i, value(i)) for i in items]) + b"END\r\n"


def one_get_request(items):
    return b"".join([b"get item:%d\r\n" % i for i in items])


def one_get_answer(items):
    return b"".join([b"VALUE item:%d %d 100\r\n%b\r\nEND\r\n" % (i, i, value(i)) for i in items])


def connect(node):
    return [Client(node.address(), timeout_s=60 * yakumo.SLOW) for _ in range(N_CONNECTIONS)]


def check_items(n_workers):
    node = Node(options=[f"node.workers={n_workers}"])
    clients = connect(node)
    in_turn(clients, set_request, set_answer, 0)
    stats = clients[0].stats()
    equal(int(stats["curr_items"]), N_ITEMS, "curr_items")
    equal(int(stats["evictions"]), 0, "evictions")
    # Another connection reads what one has written, by many keys at once and one by one.
    in_turn(clients, get_request, get_answer, 1)
    in_turn(clients, one_get_request, one_get_answer, 2)
    equal(int(clients[0].stats()["get_hits"]), 2 * N_ITEMS, "get_hits")
    equal(int(clients[0].stats()["get_misses"]), 0, "get_misses")
    for client in clients:
        client.close()


def check_kept(engine):
    """os: what was answered survives kill -9, so what lies on a disk survives a restart the more."""
    yakumo.need_plugin(engine)
    node = Node(config=f"[bucket default]\nbackend = {engine}\ndurability = os\n"
                "[frontend memcached]\nlisten = 127.0.0.1:0\n[node a]\nworkers = 2\n")
    clients = connect(node)
    in_turn(clients, set_request, set_answer, 0)
    in_turn(clients, get_request, get_answer, 1)
    for end in (node.stop, node.kill):
        for client in clients:
            client.close()
        end()
        node.start()
        clients = connect(node)
        in_turn(clients, get_request, get_answer, 1)
    for client in clients:
        client.close()


def lmdb():
    check_kept("lmdb")


def tokyocabinet():
    check_kept("tokyocabinet")


def berkeleydb():
    check_kept("berkeleydb")


def one_worker():
    check_items(1)


def two_workers():
    check_items(2)


yakumo.run(one_worker, two_workers, lmdb, tokyocabinet, berkeleydb)
