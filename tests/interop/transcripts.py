#!/usr/bin/env python3
"""The transcripts of the memcached protocol, played against running nodes, and against memcached itself.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/interop/transcripts.py [CASE ...]
"""
import glob
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from yakumo import Client, Node, eventually, skip

HERE = os.path.dirname(os.path.abspath(__file__))
TRANSCRIPTS = os.path.join(HERE, "..", "unit", "memcached_transcripts")
OPTION = re.compile(r"^\? (\w+) = (\w+)$", re.M)
DELAY = """
[bucket default]
durability = memory
filters = delay
memory_max = 1G
evict = s3fifo
[filter delay]
get = 200us
apply = 200us
[frontend memcached]
listen = 127.0.0.1:0
[node a]
workers = 2
"""


NODES = {
    "one_worker": lambda: Node(options=["node.workers=1"]),
    "two_workers": lambda: Node(options=["node.workers=2"]),
    "delay": lambda: Node(DELAY),
}
players = {}  # name of the node -> (node, process): they play beside each other, for most of it is waiting


def start_player(port, *arguments):
    return yakumo.spawn([sys.executable, os.path.join(HERE, "memcached_transcripts.py"), f"127.0.0.1:{port}",
                         *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_player(child):
    out, _ = child.communicate(timeout=300 * yakumo.SLOW)
    assert child.returncode == 0, out
    print(f"# {out.splitlines()[-1]}", flush=True)


def play(port, *arguments):
    wait_player(start_player(port, *arguments))


def case(name):
    def run():
        for other in NODES:
            if other not in players and (not sys.argv[1:] or other in sys.argv[1:]):
                node = NODES[other]().keep()
                players[other] = (node, start_player(node.port))
        node, child = players[name]
        try:
            wait_player(child)
        finally:
            node.stop()

    return name, run


def options():
    """Files that ask for options of the frontend, each against a node that has them."""
    files = [path for path in sorted(glob.glob(os.path.join(TRANSCRIPTS, "*.txt")))
             if OPTION.search(yakumo.read_file(path))]
    assert files, "no file asks for options"
    for path in files:
        given = OPTION.findall(yakumo.read_file(path))
        node = Node(options=[f"frontend.memcached.{name}={text}" for name, text in given])
        play(node.port, "--options", path)
        is_ended = any(name == "allow_shutdown" for name, _ in given)
        node.stop(None if is_ended else 15)


def start_memcached(program):
    port = yakumo.free_port()
    command = [program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "64"]
    yakumo.spawn(command + (["-u", "nobody"] if os.geteuid() == 0 else []), stdout=subprocess.DEVNULL)

    def answers():
        try:
            with Client(("127.0.0.1", port)) as client:
                return client.ask(b"version")
        except OSError:
            return None

    eventually(answers, what="the start of memcached")
    return port


def memcached():
    """The transcripts say what memcached does, or that we differ by intention."""
    program = shutil.which("memcached")
    if program is None:
        skip("no memcached")
    version = subprocess.run([program, "-V"], stdout=subprocess.PIPE, text=True, check=False).stdout.split()[-1]
    if version != "1.6.18":
        skip(f"the transcripts were held against memcached 1.6.18, this is {version}")
    try:
        play(start_memcached(program), "--memcached")
    except AssertionError as failure:  # its maintainer holds an item now and then: incr makes a new one then
        print(f"# played again to a new memcached: {failure}".replace("\n", "\n# "), flush=True)
        play(start_memcached(program), "--memcached")


yakumo.run(*map(case, NODES), options, memcached)
