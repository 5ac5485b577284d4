#!/usr/bin/env python3
"""What a node listens to for other nodes and tools: a hello, and nothing else before it.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/peers.py [CASE ...]
"""
import os
import re
import signal
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from yakumo import Node, equal, eventually, free_port, matches, refused, temporary, write_file

CONFIG = """
[bucket default]
durability = memory
copies = 1
[frontend memcached]
listen = 127.0.0.1:0
[node a]
roles = manager, server, gateway
workers = 3
lanes = 8
address = 127.0.0.1:0
[node b]
roles = server
address = 127.0.0.1:0
"""
NOBODY = "0a0a0a0a-0000-4000-8000-00000000000a"


def pack(value):
    """A value as MessagePack, as far as these tests need it."""
    if value is None:
        return b"\xc0"
    if isinstance(value, int):
        return bytes([value]) if value < 128 else b"\xcf" + value.to_bytes(8, "big")
    if isinstance(value, str):
        return b"\xd9" + bytes([len(value)]) + value.encode()
    return b"\xdc" + len(value).to_bytes(2, "big") + b"".join(pack(one) for one in value)


def unpack(data, at=0):
    """(the value at that place, where the next one is); raises IndexError where bytes are missing."""
    head = data[at]
    for low, high, kind in ((0x90, 0xa0, list), (0xa0, 0xc0, str)):
        if low <= head < high:
            size, at = head - low, at + 1
            break
    else:
        if head < 0x80:
            return head, at + 1
        if head == 0xc0:
            return None, at + 1
        if 0xcc <= head <= 0xcf:
            end = at + 1 + (1 << (head - 0xcc))
            data[end - 1]
            return int.from_bytes(data[at + 1:end], "big"), end
        assert head == 0xd9, f"type {head:#x} was not expected"
        size, at, kind = data[at + 1], at + 2, str
    if kind is str:
        if len(data) < at + size:
            raise IndexError
        return data[at:at + size].decode(), at + size
    values = []
    for _ in range(size):
        value, at = unpack(data, at)
        values.append(value)
    return values, at


def hello(to_worker=0, cluster="", to_node="", node="", versions=(1, 1), more=()):
    return pack([0, 0, "hello", [*versions, cluster, node, "test", "", 1 << 60, 0, to_worker, 1, 1, None, to_node,
                                 *more]])


class Caller(socket.socket):
    """A connection to the address for nodes."""

    def __init__(self, node):
        super().__init__()
        self.settimeout(20 * yakumo.SLOW)
        self.connect(("127.0.0.1", int(node.wait_log(r"listening for=nodes address=127\.0\.0\.1:(\d+)")[1])))

    def answer(self):
        """The next value, None at the end."""
        data = b""
        while True:
            try:
                return unpack(data)[0]
            except IndexError:
                pass
            try:
                more = self.recv(1)
            except ConnectionResetError:
                more = b""
            if not more:
                equal(data, b"", "half an answer")
                return None
            data += more


def dropped(node, worker):
    """Frames that the worker did not understand so far."""
    n = len(re.findall(f"state worker={worker} ", node.log()))
    node.send_signal(signal.SIGUSR1)
    return int(node.wait_log(rf"state worker={worker} .* frames_dropped=(\d+)", n + 1)[1])


def start():
    """Node a, in a cluster that has been made without b."""
    node = Node(CONFIG, name="a", start=False)
    for _ in range(Node.STARTS_MAX):
        node.spawn()
        try:
            node.wait_log(r"listening for=nodes")
            break
        except AssertionError:
            if "Address already in use" not in node.log():
                raise
            node.kill()
            node._choose_ports()
    tool = os.path.join(yakumo.BUILDDIR, "yakumo")
    subprocess.run([tool, "cluster", "create", "--now", node.config_file], env=yakumo.environment(), check=True,
                   stdout=subprocess.DEVNULL, timeout=60 * yakumo.SLOW)
    node.wait_log(r"main: ready ")
    node.addresses = re.findall(r'listening frontend="([^"]*)" address=(\S+)', node.log())
    return node


def a_tool_says_hello():
    node = start()
    node_id = node.wait_log(r"ready .* node=(\S+)")[1]
    for worker in range(3):
        for n in range(4):  # whichever thread accepts
            with Caller(node) as caller:
                caller.sendall(hello(worker, to_node=node_id, more=["later", []]))
                kind, msgid, error, (version, cluster, its_id, nonce, n_workers, n_lanes, methods) = caller.answer()
                equal((kind, msgid, error, version, its_id, n_workers, n_lanes, methods),
                      (1, 0, None, 1, node_id, 3, 8, []), "the answer")
                equal(len(cluster), 36, "size of the cluster's id")
                caller.sendall(pack([2, "nobody knows this", []]) * 1000)
                eventually(lambda: dropped(node, worker) == (n + 1) * 1000, None, "all frames")
    with Caller(node) as caller:
        caller.sendall(hello(node="", cluster=cluster))
        equal(caller.answer()[2], None, "error for the right cluster")


def refused_in_words():
    node = start()
    for said, words in ((hello(7), "no worker 7"),
                        (hello(to_node=NOBODY), f"node {NOBODY} is meant"),
                        (hello(cluster=NOBODY), f"the caller is of cluster {NOBODY}"),
                        (hello(versions=(2, 3)), "speaks 1 to 1, the caller 2 to 3")):
        with Caller(node) as caller:
            caller.sendall(said)
            kind, _, error, result = caller.answer()
            equal((kind, result), (1, None), "a refusal")
            matches(error, re.escape(words))
            equal(caller.answer(), None, "the end")
    node.wait_log(r"links: hello refused")


def anything_else_is_closed():
    node = start()
    for said in (b"GET / HTTP/1.0\r\n\r\n", b"\xc1", pack([0, 0, "get", []]), b"\xdd\xff\xff\xff\xff", b"\x91" * 20,
                 b"\x94\x00\x00\xc5\x10\x00"):
        with Caller(node) as caller:
            caller.sendall(said)
            equal(caller.answer(), None, f"the answer to {said!r}")
        eventually(lambda: node.client().set(b"k", b"v") == b"STORED", None, "a write")
    node.wait_log(r"links: connection closed from=127\.0\.0\.1:\d+ reason=")
    with Caller(node) as silent:
        equal(silent.answer(), None, "the answer to nothing")


def a_port_that_is_taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        path = write_file("taken.conf", f"[bucket default]\ndurability = memory\n[frontend memcached]\n"
                          f"listen = 127.0.0.1:{free_port('127.0.0.1')}\n[node a]\nroles = manager, server, gateway\n"
                          f"address = 127.0.0.1:{port}\n[node b]\naddress = 127.0.0.1:{free_port('127.0.0.1')}\n")
        line = refused("-c", path, "--node", "a", "-o", f"node.data={temporary('data')}")
        matches(line, f"127.0.0.1:{port}: Address already in use")


def elsewhere_only_if_told():
    line = refused("--check-config", "-o", "node.address=0.0.0.0:19800")
    matches(line, "allow_remote")
    status, _, err = yakumo.yakumod("--check-config", "-o", "node.address=0.0.0.0:19800", "-o", "node.allow_remote=yes")
    equal((status, err), (0, ""), "with allow_remote = yes")


def a_node_alone_does_not_listen():
    address = f"127.0.0.1:{free_port('127.0.0.1')}"
    node = Node(options=[f"node.address={address}"])
    with socket.socket() as caller:
        host, port = address.split(":")
        equal(caller.connect_ex((host, int(port))) != 0, True, "nobody is there")
    assert "for=nodes" not in node.log()


yakumo.run(a_tool_says_hello, refused_in_words, anything_else_is_closed, a_port_that_is_taken,
           elsewhere_only_if_told, a_node_alone_does_not_listen)
