#!/usr/bin/env python3
"""A cluster of real nodes: it is made, seen, and goes on when nodes die and come back.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/cluster.py [CASE ...]
"""
import json
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from servers import Servers
from yakumo import (BUILDDIR, SLOW, Client, Node, equal, environment, eventually, free_port, matches, need_plugin, skip,
                    temporary)

YAKUMO = os.path.join(BUILDDIR, "yakumo")
SLOTS = 64


class Cluster:
    """A file of three servers, each in a folder of its own, and of managers that are not among them."""

    def __init__(self, coordinator="local", managers=None):
        managers = managers or ("abc" if coordinator == "quorum" else "a")
        self.names = "".join(sorted(set("abc" + managers)))
        need_plugin(coordinator)
        self.folder = temporary("cluster")
        self.ports = {name: free_port("127.0.0.1") for name in self.names}
        self.clients = {name: free_port("127.0.0.1") for name in "abc"}
        os.mkdir(self.folder)
        nodes = "".join(f"""
[node {name}]
roles = {"manager, " if name in managers else ""}server, gateway
address = 127.0.0.1:{self.ports[name]}
data = {self.folder}/{name}
workers = 2
frontend.memcached.listen = 127.0.0.1:{self.clients[name]}
""" for name in "abc")
        nodes += "".join(f"""
[node {name}]
roles = manager
address = 127.0.0.1:{self.ports[name]}
data = {self.folder}/{name}
""" for name in self.names if name not in "abc")
        self.path = os.path.join(self.folder, "cluster.conf")
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(f"[cluster]\ncoordinator = {coordinator}\n[bucket default]\nbackend = memory\ndurability = os\n"
                       f"slots = {SLOTS}\n[frontend memcached]\nlisten = 127.0.0.1:1\n{nodes}")
        self.nodes = {}

    def start(self, name):
        """Starts a node and does not wait."""
        node = Node(data=os.path.join(self.folder, name), start=False, name=name)
        node.config_file = self.path
        node.options = []
        node.spawn()
        self.nodes[name] = node
        return node

    def kill(self, name):
        node = self.nodes.pop(name)
        node.kill()

    def tool(self, *arguments):
        return subprocess.run([YAKUMO, *arguments], env=environment(), stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=60 * SLOW, check=False)

    def status(self):
        done = self.tool("status", "--json", self.path)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def slots(self):
        """(with all copies, without primary, up), or None."""
        status = self.status()
        if status is None or not status["ready"]:
            return None
        bucket = status["buckets"][0]
        return bucket["full"], bucket["without_primary"], sorted(node["name"] for node in status["nodes"] if node["up"])

    def wait(self, expected):
        """Until status says so."""
        def look():
            seen.append(self.slots())
            return seen[-1] == expected
        seen = []
        try:
            eventually(look, 20 * SLOW)
        except AssertionError:
            raise AssertionError(f"expected {expected}, got {seen[-1]}") from None

    def form(self):
        for name in self.names:
            self.start(name)
        for node in self.nodes.values():
            node.wait_log(r"listening for=nodes")
        done = self.tool("cluster", "create", self.path)
        equal(done.returncode, 0, f"exit status of cluster create ({done.stderr!r})")
        self.wait((SLOTS, 0, list(self.names)))
        for name in "abc":
            self.nodes[name].wait_log(r"main: ready ")


def formed(coordinator, managers=None):
    """A cluster of nodes that serve. Another process may take a port meanwhile."""
    for _ in range(Node.STARTS_MAX):
        cluster = Cluster(coordinator, managers)
        try:
            cluster.form()
            return cluster
        except AssertionError:
            if not any("Address already in use" in node.log() for node in cluster.nodes.values()):
                raise
            for name in list(cluster.nodes):
                cluster.kill(name)
    raise AssertionError("no free ports")


def three_nodes(coordinator):
    cluster = formed(coordinator)
    done = cluster.tool("status", cluster.path)
    matches(done.stdout, r"node b +up +attached")
    matches(done.stdout, rf"slots {SLOTS}, copies 3: with all {SLOTS}, .* without primary 0")
    before = cluster.status()["id"]
    cluster.kill("b")
    eventually(lambda: (cluster.slots() or (0, 0, "b"))[2] == ["a", "c"], 20 * SLOW, "b seen as down")
    cluster.start("b").wait_log(r"main: ready ")
    cluster.wait((SLOTS, 0, ["a", "b", "c"]))
    equal(cluster.status()["id"], before, "the cluster's id")
    # Once more changes nothing.
    equal(cluster.tool("cluster", "create", cluster.path).returncode, 0, "exit status of create again")
    equal(cluster.status()["id"], before, "the cluster's id")


def with_one_manager():
    three_nodes("local")


def with_three_managers():
    three_nodes("quorum")


def all_killed():
    cluster = formed("local")
    for name in "abc":
        cluster.kill(name)
    for name in "abc":
        cluster.start(name)
    cluster.wait((SLOTS, 0, ["a", "b", "c"]))


def memccapable(cluster, name):
    command = ["memccapable", "-h", "127.0.0.1", "-p", str(cluster.clients[name]), "-t", str(5 * SLOW), "-a"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=60 * SLOW,
                          check=False)
    equal(done.returncode, 0, f"memccapable at {name} ({done.stdout + done.stderr!r})")


def memccapable_when_one_was_killed():
    if shutil.which("memccapable") is None:
        skip("no memccapable (libmemcached-tools)")
    cluster = formed("quorum")
    for name in "abc":
        memccapable(cluster, name)
    cluster.kill("b")
    eventually(lambda: (cluster.slots() or (0, 1, []))[1:] == (0, ["a", "c"]), 20 * SLOW, "primaries at a and c")
    for name in "ac":
        memccapable(cluster, name)
    cluster.start("b").wait_log(r"main: ready ")
    cluster.wait((SLOTS, 0, ["a", "b", "c"]))
    memccapable(cluster, "b")


def all_managers_dead():
    """Members of slots stay what they are, and data flows for as long as that lasts."""
    cluster = formed("quorum", "xyz")
    clients = [Client(("127.0.0.1", cluster.clients[name])) for name in "abc"]
    for name in "xyz":
        cluster.kill(name)
    until = time.monotonic() + 5
    n = 0
    while time.monotonic() < until:
        n += 1
        for i, client in enumerate(clients):
            equal(client.set(b"key%d" % (n % 100), b"%d.%d" % (n, i)), b"STORED", f"set {n} at node {i}")
            for other in clients:
                equal(other.get(b"key%d" % (n % 100)), b"%d.%d" % (n, i), f"get {n}")
    for name in "xyz":
        cluster.start(name)
    cluster.wait((SLOTS, 0, list("abcxyz")))
    # They judge again.
    cluster.kill("b")
    eventually(lambda: (cluster.slots() or (0, 1, []))[1:] == (0, list("acxyz")), 20 * SLOW, "primaries at a and c")
    for i in range(100):
        matches((clients[0].get(b"key%d" % i) or b"").decode(), r"^\d+\.2$", f"key{i}")


def nobody_makes_registers_by_himself():
    cluster = Cluster("local")
    node = cluster.start("a")
    node.wait_log(r"register cluster: there is none yet: this node waits for 'yakumo cluster create'")
    done = cluster.tool("cluster", "create", "--timeout", "1", cluster.path)
    equal(done.returncode, 1, "exit status without the other servers")
    matches(done.stderr, r"there is no cluster yet: waiting for b, c")
    equal(cluster.status()["id"], None, "the cluster's id")
    equal(cluster.status()["ready"], False, "ready")
    equal(cluster.tool("cluster", "create", "--now", cluster.path).returncode, 0, "exit status with --now")
    node.wait_log(r"main: ready ")
    # Who comes later is taken in.
    cluster.start("b").wait_log(r"main: ready ")
    eventually(lambda: [node["attached"] for node in cluster.status()["nodes"]] == [True, False, False], None, "b")
    matches(cluster.tool("status", cluster.path).stdout, r"node b +up +not attached")


def up_and_down():
    cluster = Cluster("local")
    try:
        done = cluster.tool("up", cluster.path)
        equal(done.returncode, 0, f"exit status of up ({done.stderr!r})")
        matches(done.stdout, r"the cluster serves: every slot has a primary")
        equal(cluster.slots(), (SLOTS, 0, ["a", "b", "c"]), "slots")
        again = cluster.tool("up", cluster.path)
        equal(again.returncode, 0, "exit status of up again")
        matches(again.stdout, r"node c: runs already, pid \d+")
    finally:
        done = cluster.tool("down", cluster.path)
    equal(done.returncode, 0, f"exit status of down ({done.stderr!r})")
    matches(done.stdout, r"node a: stopped")
    equal(cluster.status(), None, "status when all are down")


def up_says_what_is_wrong():
    cluster = Cluster("local")
    os.mkdir(os.path.join(cluster.folder, "b"))
    yakumo_file = os.path.join(cluster.folder, "b", "something")
    with open(yakumo_file, "w", encoding="utf-8"):
        pass
    try:
        done = cluster.tool("up", "--timeout", str(10 * SLOW), cluster.path)
        equal(done.returncode, 1, "exit status of up")
        matches(done.stderr, r"node b has ended; its log is .*/b/yakumod\.log")
        matches(done.stderr, r'it is not empty and was not made by yakumo \(it holds "something"\)')
    finally:
        equal(cluster.tool("down", cluster.path).returncode, 0, "exit status of down")


def another_cluster_is_refused():
    one, other = formed("local"), Cluster("local")
    # The folder of b under another file's managers.
    one.nodes.pop("b").stop()
    other.start("a")
    os.rename(os.path.join(one.folder, "b"), os.path.join(other.folder, "b"))
    other.start("c")
    lost = other.start("b")
    equal(other.tool("cluster", "create", other.path).returncode, 0, "exit status of create")
    lost.wait_log(r"of another cluster|belongs to cluster|is of cluster|caller is of cluster")
    assert "main: ready" not in lost.log()


def cache_figure(client, name):
    return int(client.stats()["gateway_cache_" + name])


def gateways_keep_values():
    """What a node got from another one is not sent again, and is as new as if it were."""
    with Servers(options=["node.gateway_cache=4M"]) as servers:
        keys = [b"cached%d" % i for i in range(300)]
        with servers.client("a") as a, servers.client("b") as b, servers.client("c") as c:
            def expect(suffix, what):
                for key in keys:
                    equal(b.get(key), key * 200 + suffix, what)

            for key in keys:
                equal(a.set(key, key * 200, flags=7), b"STORED", "set")
            expect(b"", "value")
            equal(cache_figure(b, "hits"), 0, "hits of the first time")
            n_elsewhere = cache_figure(b, "items")
            assert n_elsewhere > 100, f"{n_elsewhere} keys of 300 have their primary elsewhere"
            expect(b"", "value from the cache")
            equal([cache_figure(b, name) for name in ("hits", "items")], [n_elsewhere] * 2, "figures")
            b.send(b"gets cached1 cached2\r\n")
            equal([line.split()[:4] for line in b.lines() if line.startswith(b"VALUE")],
                  [[b"VALUE", key, b"7", b"%d" % (200 * len(key))] for key in keys[1:3]], "lines of gets")
            for key in keys:
                equal(c.set(key, b"+", verb=b"append"), b"STORED", "append through another node")
            expect(b"+", "value that has changed")
            for key in keys[:50]:
                equal(c.ask(b"touch %s 1000" % key), b"TOUCHED", "touch")
                b.send(b"mg %s t v\r\n" % key)
                head = b.line().split()
                assert head[0] == b"VA" and 990 <= int(head[2][1:]) <= 1000, head
                equal(b.line(), key * 200 + b"+", "value after a touch")
            for key in keys[:50]:
                equal(a.ask(b"delete " + key), b"DELETED", "delete")
                equal(b.get(key), None, "what was deleted")
            for i in range(3000):  # more than there is room for
                key = b"more%d" % i
                equal(a.set(key, key * 500), b"STORED", "set")
                equal(b.get(key), key * 500, "value")
            assert cache_figure(b, "bytes") <= 4 << 20, "bytes of the cache"
            equal(a.ask(b"flush_all"), b"OK", "flush")
            equal([b.get(key) for key in keys], [None] * len(keys), "values after a flush")


yakumo.run(gateways_keep_values, with_one_manager, with_three_managers, all_killed, memccapable_when_one_was_killed, all_managers_dead,
           nobody_makes_registers_by_himself, up_and_down, up_says_what_is_wrong, another_cluster_is_refused)
