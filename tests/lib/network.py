"""A network of its own for a scenario: namespaces on a bridge, whose links can be cut in one way or in both.

in_own_namespace() leads the whole script into a new network namespace; a Network then has a child of it for each name.
A namespace lives as long as the processes in it, and its interfaces with it: nothing stays behind, whatever happens.

A cut is silent, as a broken link is: the sender takes the other one's address in the network for one that nobody has.
"""
import os
import shutil
import subprocess
import sys

import yakumo
from yakumo import equal, eventually, spawn

MARK = "YK_IN_NAMESPACE"
NOBODY = "02:00:00:00:00:ff"


def why_not():
    """A reason why this machine has no namespaces for us, or None."""
    missing = [name for name in ("ip", "unshare", "nsenter") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} is missing (Debian: iproute2, util-linux)"
    for options in ways():
        if subprocess.run(["unshare", *options, "ip", "link", "add", "yk0", "type", "bridge"], check=False,
                          stdin=subprocess.DEVNULL, capture_output=True).returncode == 0:
            return None
    return "no network namespace with a bridge can be made here (who is not root needs user namespaces)"


def ways():
    return [["--net"]] if os.geteuid() == 0 else [["--user", "--map-root-user", "--net"]]


def in_own_namespace():
    """Starts the script anew in a namespace; returns there, or, with a reason, where there is none."""
    if MARK in os.environ:
        return None
    reason = why_not()
    if reason is None:
        shutil.rmtree(yakumo.folder, ignore_errors=True)
        os.execvpe("unshare", ["unshare", *ways()[0], "--", sys.executable, *sys.argv], {**os.environ, MARK: "1"})
    return reason


def _run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    equal((done.returncode, done.stderr), (0, ""), " ".join(command))


class Network:
    """hosts: {name: address}; inside(name): what leads a command there."""

    n_made = 0

    def __init__(self, names):
        self.hosts = {name: f"10.77.0.{i + 1}" for i, name in enumerate(names)}
        self.links = {name: f"02:00:00:00:00:{i + 1:02x}" for i, name in enumerate(names)}
        self.holders = {}
        Network.n_made += 1  # what was there before goes a while later
        self.bridge = f"bridge{Network.n_made}"
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", self.bridge, "type", "bridge")
        _run("ip", "address", "add", "10.77.0.254/24", "dev", self.bridge)
        _run("ip", "link", "set", self.bridge, "up")
        for name in names:
            self._add(name)
        self.heal()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for holder in self.holders.values():
            holder.kill()
            holder.wait()
        _run("ip", "link", "delete", self.bridge)

    def _add(self, name):
        holder = spawn(["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL)
        self.holders[name] = holder
        own = os.readlink("/proc/self/ns/net")
        eventually(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != own, None, "a namespace")
        end = f"to-{name}{Network.n_made}"
        _run("ip", "link", "add", end, "type", "veth", "peer", "name", "eth0", "address", self.links[name],
             "netns", str(holder.pid))
        _run("ip", "link", "set", end, "master", self.bridge, "up")
        self._run_inside(name, "ip", "link", "set", "lo", "up")
        self._run_inside(name, "ip", "address", "add", f"{self.hosts[name]}/24", "dev", "eth0")
        self._run_inside(name, "ip", "link", "set", "eth0", "up")

    def inside(self, name):
        return ["nsenter", f"--net=/proc/{self.holders[name].pid}/ns/net", "--"]

    def _run_inside(self, name, *command):
        _run(*self.inside(name), *command)

    def _send(self, source, target, link):
        self._run_inside(source, "ip", "neighbour", "replace", self.hosts[target], "lladdr", link, "dev", "eth0",
                         "nud", "permanent")

    def cut(self, source, target):
        """What source sends does not reach target; the other way it does."""
        self._send(source, target, NOBODY)

    def cut_both(self, one, other):
        self.cut(one, other)
        self.cut(other, one)

    def heal(self):
        for source in self.hosts:
            for target in self.hosts:
                if source != target:
                    self._send(source, target, self.links[target])
