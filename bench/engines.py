#!/usr/bin/env python3
"""What the engines cost: sets and gets of 100-byte values through a node, for each engine and durability.

Rounds are interleaved, so that what else the machine does falls on all alike; the median of each figure is printed as
a table in Markdown. The clients are Python processes that prepare their bytes beforehand; the node is the one of the
build folder.

usage: engines.py [--items N] [--rounds N] [--clients N] [--place FOLDER]     (in a build folder)
"""
import argparse
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CASES = [("memory", "memory"), ("lmdb", "os"), ("lmdb", "disk"), ("tokyocabinet", "os"), ("tokyocabinet", "disk"),
         ("berkeleydb", "os"), ("berkeleydb", "disk")]
BATCH = 100
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Node:
    def __init__(self, engine, durability, place):
        self.port = free_port()
        self.data = os.path.join(place, f"{engine}-{durability}")
        self.command = ["./yakumod", "-o", f"bucket.default.backend={engine}", "-o", "bucket.default.evict=none",
                        "-o", f"bucket.default.durability={durability}", "-o", f"node.data={self.data}",
                        "-o", f"frontend.memcached.listen=127.0.0.1:{self.port}"]
        self.start()

    def start(self):
        begun = time.monotonic()
        self.child = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
        for line in self.child.stderr:
            if " ready " in line:
                break
        return time.monotonic() - begun

    def stop(self):
        self.child.terminate()
        self.child.stderr.read()
        self.child.wait()

    def cpu_s(self):
        with open(f"/proc/{self.child.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def talk(port, n_items, client, n_clients, verb, barrier):
    value = b"v" * 100
    items = range(client, n_items, n_clients)
    batches = [items[i:i + BATCH] for i in range(0, len(items), BATCH)]
    if verb == "set":
        requests = [b"".join(b"set item:%d 0 0 100\r\n%b\r\n" % (i, value) for i in batch) for batch in batches]
        sizes = [8 * len(batch) for batch in batches]
    else:
        requests = [b"".join(b"get item:%d\r\n" % i for i in batch) for batch in batches]
        sizes = [sum(len(b"VALUE item:%d 0 100\r\n" % i) + 107 for i in batch) for batch in batches]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        barrier.wait()
        for request, size in zip(requests, sizes):
            connection.sendall(request)
            while size > 0:
                size -= len(connection.recv(min(size, 1 << 18)))
    barrier.wait()


def measure(node, arguments, verb):
    """(operations a second, microseconds of the node's CPU for each)"""
    barrier = multiprocessing.Barrier(arguments.clients + 1)
    clients = [multiprocessing.Process(target=talk, args=(node.port, arguments.items, i, arguments.clients, verb, barrier))
               for i in range(arguments.clients)]
    for client in clients:
        client.start()
    barrier.wait()
    begun, cpu = time.monotonic(), node.cpu_s()
    barrier.wait()
    spent, cpu = time.monotonic() - begun, node.cpu_s() - cpu
    for client in clients:
        client.join()
    return arguments.items / spent, cpu / arguments.items * 1e6


def disk_bytes(folder):
    return sum(os.lstat(os.path.join(place, name)).st_blocks * 512
               for place, _, names in os.walk(folder) for name in names)


def run_case(engine, durability, arguments, place):
    node = Node(engine, durability, place)
    sets = measure(node, arguments, "set")
    gets = measure(node, arguments, "get")
    node.stop()
    size = disk_bytes(node.data) / arguments.items
    start = node.start()
    node.stop()
    shutil.rmtree(node.data)
    return [*sets, *gets, size, start]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=200000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--place", default=None)
    arguments = parser.parse_args()
    figures = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory(dir=arguments.place) as place:
        for number in range(arguments.rounds):
            for case in CASES:
                print(f"round {number + 1} of {arguments.rounds}: {case[0]} {case[1]}", file=sys.stderr)
                figures[case].append(run_case(*case, arguments, place))
    print("| engine | durability | sets/s | CPU us/set | gets/s | CPU us/get | disk bytes/item | start s |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for case in CASES:
        sets, set_cpu, gets, get_cpu, size, start = (statistics.median(column) for column in zip(*figures[case]))
        print(f"| {case[0]} | {case[1]} | {sets:,.0f} | {set_cpu:.1f} | {gets:,.0f} | {get_cpu:.1f} | {size:.0f} | "
              f"{start:.2f} |".replace(",", " "))


main()
