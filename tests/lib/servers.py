"""A cluster of real nodes for scenarios with faults: three servers, each record on all of them, and three managers.

The nodes are on this machine's loopback, or each in a network namespace of its own (network.py).
"""
import json
import os
import signal
import subprocess

import yakumo
from etcd import Etcd
from yakumo import BUILDDIR, SLOW, Client, Node, equal, environment, eventually, free_port, need_plugin, temporary

NAMES = "abc"  # of the servers
SLOTS = 64
HEAL_S = 30 * SLOW  # until every slot has all its copies again
PROBES = 50
COORDINATOR = os.environ.get("YK_COORDINATOR", "quorum")


class Servers:
    """managers: "abc", the servers themselves, or "def", nodes of their own. settings: lines of [cluster]; bucket: of
    its bucket. hosts: {name: address}, where the nodes are not on loopback; before: {name: what leads into its namespace}. coordinator: a
    name, YK_COORDINATOR's by default; section: its options. Without a section etcd gets three members. form: whether
    the cluster is made at once. options: for -o of each node."""

    def __init__(self, durability="os", managers=NAMES, settings="", bucket="", backend="memory", hosts=None, before=None,
                 coordinator=None, section="", form=True, options=()):
        coordinator = coordinator or (COORDINATOR if hosts is None else "quorum")
        need_plugin(coordinator)
        need_plugin(backend)
        self.etcd = Etcd(3) if coordinator == "etcd" and not section else None
        section = section or (self.etcd.section() if self.etcd else "")
        self.managers = managers
        self.options = list(options)
        self.names = "".join(sorted(set(NAMES + managers)))
        self.hosts = hosts or dict.fromkeys(self.names, "127.0.0.1")
        self.before = before or dict.fromkeys(self.names, ())
        self.folder = temporary("servers")
        os.mkdir(self.folder)
        self.path = os.path.join(self.folder, "cluster.conf")
        self.text = f"[cluster]\ncoordinator = {coordinator}\n{settings}\n{section}[bucket default]\n" \
                    f"backend = {backend}\n" \
                    f"durability = {durability}\nslots = {SLOTS}\ncopies = 3\n{bucket}" \
                    "[frontend memcached]\nlisten = 127.0.0.1:1\n"
        self.ports = {}
        self.nodes = {}
        self._write_file()
        if form:
            self.form()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """All are told to end at once, since they may wait for each other."""
        for node in self.nodes.values():
            node.send_signal(signal.SIGCONT)
            node.send_signal(signal.SIGTERM)
        for node in self.nodes.values():
            node.stop(None)
        if self.etcd:
            self.etcd.__exit__()

    def _write_file(self):
        is_own = self.hosts["a"] == "127.0.0.1"
        self.ports = {name: (free_port(), free_port()) if is_own else (19800, 11211) for name in self.names}
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(self.text)
            for name in self.names:
                host, (port, client_port) = self.hosts[name], self.ports[name]
                roles = ["manager"] * (name in self.managers) + ["server", "gateway"] * (name in NAMES)
                file.write(f"[node {name}]\nroles = {', '.join(roles)}\naddress = {host}:{port}\nworkers = 2\n"
                           f"data = {self.folder}/{name}\n")
                if name in NAMES:
                    file.write(f"frontend.memcached.listen = {host}:{client_port}\n")
                if not is_own:
                    file.write("allow_remote = yes\nfrontend.memcached.allow_remote = yes\n")

    def form(self):
        """Another process may take a port meanwhile."""
        for _ in range(Node.STARTS_MAX):
            try:
                self.start(*self.names)
                for node in self.nodes.values():
                    node.wait_log(r"listening for=nodes")
                break
            except AssertionError:
                if not any("Address already in use" in node.log() for node in self.nodes.values()):
                    raise
                self.kill(*self.names)
                self._write_file()
        equal(self.tool("cluster", "create", self.path).returncode, 0, "exit status of cluster create")
        self.wait_whole()

    def start(self, *names):
        """Starts nodes and does not wait."""
        for name in names:
            node = Node(data=os.path.join(self.folder, name), start=False, name=name, before=self.before[name])
            node.config_file = self.path
            node.options = self.options
            node.spawn()
            self.nodes[name] = node

    def kill(self, *names):
        """kill -9, all at once."""
        killed = [self.nodes.pop(name) for name in names]
        for node in killed:
            node.send_signal(signal.SIGKILL)
        for node in killed:
            node.kill()
            os.remove(node.log_file)

    def address(self, name):
        return self.hosts[name], self.ports[name][1]

    def addresses(self):
        return [self.address(name) for name in NAMES]

    def client(self, name, timeout_s=None):
        return Client(self.address(name), timeout_s=timeout_s)

    def tool(self, *arguments):
        return subprocess.run([os.path.join(BUILDDIR, "yakumo"), *arguments], env=environment(), text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=60 * SLOW, check=False)

    def status(self):
        """The bucket's slots and the names of the nodes that are up, or None."""
        done = self.tool("status", "--json", self.path)
        if done.returncode != 0:
            return None
        status = json.loads(done.stdout)
        if not status["ready"] or not status["buckets"]:
            return None
        return status["buckets"][0], sorted(node["name"] for node in status["nodes"] if node["up"])

    def is_whole(self):
        found = self.status()
        return found is not None and (found[0]["full"], found[0]["without_primary"]) == (SLOTS, 0)

    def wait_whole(self):
        """Every slot has all its copies, and every node serves all of them."""
        eventually(self.is_whole, HEAL_S, "every slot with all its copies")
        for name in NAMES:
            eventually(lambda name=name: self.serves(name), HEAL_S, f"node {name} serves every slot")

    def serves(self, name, timeout_s=None):
        """Does it take writes of keys all over the slots?"""
        try:
            with self.client(name, timeout_s) as client:
                return all(client.set(b"probe%d" % i, b"x") == b"STORED" for i in range(PROBES))
        except (OSError, AssertionError):
            return False
