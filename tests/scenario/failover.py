#!/usr/bin/env python3
"""Three nodes on this machine, each record on all of them: any node answers any client, one that is killed is
replaced and comes back, and what was acknowledged outlives the end of all.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/cluster.py [CASE ...]
"""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from yakumo import Client, equal, eventually, free_port, matches, temporary, write_file

NAMES = "abc"
N = 200


class Cluster:
    """Nodes a, b and c, started by `yakumo up`."""

    def __init__(self):
        self.ports = {name: free_port() for name in NAMES}
        folder = temporary("cluster")
        text = "[cluster]\nname = test\ncoordinator = local\n[bucket default]\nbackend = memory\ndurability = os\n" \
               "copies = 3\n[frontend memcached]\nlisten = 127.0.0.1:0\n"
        for name in NAMES:
            roles = "manager, server, gateway" if name == "a" else "server, gateway"
            text += f"[node {name}]\nroles = {roles}\naddress = 127.0.0.1:{free_port()}\ndata = {folder}/{name}\n" \
                    f"workers = 2\nfrontend.memcached.listen = 127.0.0.1:{self.ports[name]}\n"
        self.folder = folder
        self.file = write_file("cluster.conf", text)
        self.up()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tool("down")

    def tool(self, verb):
        done = subprocess.run([os.path.join(yakumo.BUILDDIR, "yakumo"), verb, self.file], env=yakumo.environment(),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * yakumo.SLOW)
        equal((done.returncode, done.stderr), (0, ""), f"yakumo {verb}")
        return done.stdout

    def up(self):
        matches(self.tool("up"), "the cluster serves: every slot has a primary")

    def kill(self, name):
        for process in os.listdir("/proc"):
            try:
                with open(f"/proc/{process}/cmdline", "rb") as file:
                    words = file.read().decode(errors="replace").split("\0")
            except OSError:
                continue
            if self.file in words and name in words:
                os.kill(int(process), signal.SIGKILL)

    def client(self, name):
        return Client(("127.0.0.1", self.ports[name]))

    def are_whole(self):
        return "with fewer 0, with fewer than 2 0, without primary 0" in self.tool("status")


def store_all(client, value):
    for i in range(N):
        equal(client.set(b"key%d" % i, b"%s%d" % (value, i)), b"STORED", f"set key{i}")


def have_all(client, value):
    for i in range(N):
        found = client.get(b"key%d" % i)
        if found is not None and found.startswith(b"SERVER_ERROR"):
            return False
        equal(found, b"%s%d" % (value, i), f"key{i}")
    return True


def any_node_answers():
    with Cluster() as cluster:
        with cluster.client("a") as a, cluster.client("b") as b, cluster.client("c") as c:
            store_all(a, b"one")
            assert have_all(b, b"one") and have_all(c, b"one")
            store_all(c, b"two")
            assert have_all(a, b"two")


def one_is_killed_and_comes_back():
    with Cluster() as cluster:
        with cluster.client("a") as a:
            store_all(a, b"before")
            cluster.kill("c")
            begun = time.monotonic()
            eventually(lambda: have_all(a, b"before"), None, "everything is served")
            print(f"# served again after {time.monotonic() - begun:.2f} s")
            store_all(a, b"after")
            cluster.up()
            eventually(cluster.are_whole, None, "three copies again")
            cluster.kill("b")
            eventually(lambda: have_all(a, b"after"), None, "everything is served")


def all_are_killed():
    with Cluster() as cluster:
        with cluster.client("b") as b:
            store_all(b, b"kept")
        for name in NAMES:
            cluster.kill(name)
        cluster.up()
        with cluster.client("c") as c:
            eventually(lambda: have_all(c, b"kept"), None, "everything is served")


yakumo.run(any_node_answers, one_is_killed_and_comes_back, all_are_killed)
