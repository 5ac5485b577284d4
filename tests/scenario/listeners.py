#!/usr/bin/env python3
"""Where a node listens: Unix sockets, IPv6, lists of addresses, several frontends and buckets, sockets
from systemd.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/listeners.py [CASE ...]
"""
import os
import re
import socket
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from yakumo import Client, Node, equal, matches, refused, temporary

CONFIG = """
[bucket default]
durability = memory
[frontend memcached]
listen = %s
[node a]
"""


def a_unix_socket():
    path = temporary("socket")
    node = Node(CONFIG % f"unix:{path}?mode=0600")
    equal(stat.S_IMODE(os.stat(path).st_mode), 0o600, "mode of the socket")
    for _ in range(3):
        with Client(path) as client:
            client.is_served()
    with Client(path) as client:
        matches("\n".join(f"{name} {text}" for name, text in client.stats(b"conns").items()), "unix")
    node.stop()
    assert not os.path.exists(path), "the socket is still there"


def a_unix_socket_that_was_left_over():
    path = temporary("socket")
    node = Node(CONFIG % f"unix:{path}")
    node.kill()
    assert os.path.exists(path), "kill -9 should have left the socket"
    Node(CONFIG % f"unix:{path}")
    Client(path).is_served()


def a_unix_socket_that_another_node_serves():
    path = temporary("socket")
    Node(CONFIG % f"unix:{path}")
    line = refused("-o", f"node.data={temporary('data')}", "-o", f"frontend.memcached.listen=unix:{path}")
    matches(line, re.escape(path))
    Client(path).is_served()


def a_unix_socket_where_a_file_is():
    path = yakumo.write_file("letter", "dear")
    line = refused("-o", f"node.data={temporary('data')}", "-o", f"frontend.memcached.listen=unix:{path}")
    matches(line, re.escape(path))
    equal(yakumo.read_file(path), "dear", "the file")


def ipv6():
    if not yakumo.has_ipv6():
        yakumo.skip("no IPv6 here")
    node = Node(CONFIG % "[::1]:0")
    equal(node.address()[0], "::1", "address")
    node.client().is_served()


def a_list_of_addresses():
    path = temporary("socket")
    addresses = ["127.0.0.1:0", f"unix:{path}"] + (["[::1]:0"] if yakumo.has_ipv6() else [])
    node = Node(CONFIG % ", ".join(addresses))
    equal(len(node.addresses), len(addresses), "listeners")
    for i, (_, text) in enumerate(node.addresses):
        with Client(yakumo.parse_address(text)) as client:
            client.is_served()
            equal(client.set(b"k%d" % i, b"v"), b"STORED")
    with Client(path) as client:
        client.send(b"get " + b" ".join(b"k%d" % i for i in range(len(addresses))) + b"\r\n")
        equal(len(client.values()), len(addresses), "keys seen through one of them")


def two_frontends_and_buckets():
    """examples/cache.conf, on ports that are free."""
    text = yakumo.read_file(os.path.join(yakumo.SRCDIR, "examples", "cache.conf"))
    node = Node(re.sub(r"127\.0\.0\.1:1121[12]$", "127.0.0.1:0", text, flags=re.M))
    with node.client("memcached") as cache, node.client("memcached 2") as sessions:
        equal(cache.set(b"k", b"in the cache"), b"STORED")
        equal(sessions.get(b"k"), None, "the key in the other bucket")
        equal(sessions.set(b"k", b"a session"), b"STORED")
        equal(cache.get(b"k"), b"in the cache", "the key in the first bucket")
        equal(sessions.set(b"large", b"x" * 65537), b"SERVER_ERROR object too large for cache")
        equal(cache.set(b"large", b"x" * 65537), b"STORED")
        equal(sessions.ask(b"flush_all"), b"OK")
        equal(sessions.get(b"k"), None, "the key after flush_all")
        equal(cache.get(b"k"), b"in the cache", "the key of the bucket that was not flushed")
        equal(int(cache.stats()["limit_maxbytes"]), 256 << 20, "limit_maxbytes of cache")
        equal(int(sessions.stats()["limit_maxbytes"]), 64 << 20, "limit_maxbytes of sessions")


def a_socket_from_systemd():
    """As systemd passes it: descriptor 3, named, for this pid."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()
        # A shell puts the descriptor at its place and says its own pid, which stays the daemon's.
        wrapper = ["sh", "-c", f'exec 3<&{listener.fileno()}; LISTEN_PID=$$ exec "$@"', "sh"]
        os.set_inheritable(listener.fileno(), True)
        node = Node(CONFIG % "systemd:cache", before=wrapper, start=False,
                    extra={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "cache"})
        node.pass_descriptors = (listener.fileno(),)
        node.start()
        for _ in range(3):
            with Client(address) as client:
                client.is_served()
    matches(refused("-o", f"node.data={temporary('data')}", "-o", "frontend.memcached.listen=systemd:cache"),
            "systemd")


def elsewhere_only_if_told():
    for address in ("0.0.0.0:11211", "[::]:11211"):
        line = refused("--check-config", "-o", f"frontend.memcached.listen={address}")
        matches(line, "allow_remote")
        status, _, err = yakumo.yakumod("--check-config", "-o", f"frontend.memcached.listen={address}",
                                        "-o", "frontend.memcached.allow_remote=yes")
        equal((status, err), (0, ""), "with allow_remote = yes")


yakumo.run(a_unix_socket, a_unix_socket_that_was_left_over, a_unix_socket_that_another_node_serves,
           a_unix_socket_where_a_file_is, ipv6, a_list_of_addresses, two_frontends_and_buckets,
           a_socket_from_systemd, elsewhere_only_if_told)
