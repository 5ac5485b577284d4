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


PREFIXES = """
[bucket default]
durability = %s
key_size_max = 50
value_size_max = 2M
memory_max = 256M
[frontend memcached]
listen = 127.0.0.1:0
[frontend memcached 2]
listen = unix:%s
key_prefix = shop:
[frontend memcached 3]
listen = unix:%s
key_prefix = blog:
[node a]
workers = 2
"""


def keys_of(client):
    """Lines of metadump end in LF alone."""
    client.send(b"lru_crawler metadump all\r\n")
    dump = b""
    while not dump.endswith(b"END\r\n"):
        dump += client.socket.recv(1 << 16)
    return sorted(line.split()[0] for line in dump.splitlines()[:-1])


def key_prefixes(durability):
    """Frontends with prefixes share a bucket, and none meets another's keys, whatever it asks."""
    paths = temporary("shop"), temporary("blog")
    node = Node(PREFIXES % (durability, *paths))
    with node.client() as bare, Client(paths[0]) as shop, Client(paths[1]) as blog:
        for i in range(100):
            equal(shop.set(b"k%d" % i, b"shop %d" % i), b"STORED", "set")
            equal(blog.set(b"k%d" % i, b"blog" * 200000 if i == 7 else b"blog %d" % i), b"STORED", "set")
        equal([shop.get(b"k7"), bare.get(b"shop:k7"), bare.get(b"k7")], [b"shop 7", b"shop 7", None], "k7")
        equal(blog.get(b"k7"), b"blog" * 200000, "a large value")
        shop.send(b"gets k1 k2 k3\r\n")
        equal([line.split()[1] for line in shop.lines() if line.startswith(b"VALUE")], [b"k1", b"k2", b"k3"], "multi-get")
        shop.send(b"mg k5 k v t\r\n")
        equal([shop.line(), shop.line()], [b"VA 6 kk5 t-1", b"shop 5"], "mg")
        shop.send(b"mg azU= b k v\r\nmn\r\n")
        equal([shop.line(), shop.line(), shop.line()], [b"VA 6 kazU= b", b"shop 5", b"MN"], "mg of base64")
        equal(shop.ask(b"incr k1 1"), b"CLIENT_ERROR cannot increment or decrement non-numeric value", "incr")
        equal(shop.ask(b"delete k1"), b"DELETED", "delete")
        equal([shop.get(b"k1"), blog.get(b"k1")], [None, b"blog 1"], "k1")
        equal(keys_of(blog), sorted(b"key=k%d" % i for i in range(100)), "keys of a prefix")
        equal(len(keys_of(bare)), 199, "all keys")
        matches(shop.ask(b"flush_all").decode(), "^SERVER_ERROR a flush is not supported here")
        equal(shop.set(b"k" * 45, b"x"), b"STORED", "the longest key")
        matches(shop.ask(b"get " + b"k" * 46).decode(), "^CLIENT_ERROR")
        equal(bare.get(b"shop:" + b"k" * 45), b"x", "the longest key without the prefix")
        shop.is_served()


def key_prefixes_at_once():
    key_prefixes("memory")


def key_prefixes_with_a_journal():
    key_prefixes("os")


yakumo.run(a_unix_socket, a_unix_socket_that_was_left_over, a_unix_socket_that_another_node_serves,
           a_unix_socket_where_a_file_is, ipv6, a_list_of_addresses, two_frontends_and_buckets,
           a_socket_from_systemd, elsewhere_only_if_told, key_prefixes_at_once, key_prefixes_with_a_journal)
