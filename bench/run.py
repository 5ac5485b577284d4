#!/usr/bin/env python3
"""Measures yakumo and its peers with one load, and writes the tables of bench/RESULTS.md.

For each row a server is started on a free port, filled and loaded by `yakumo bench`; the rounds are interleaved, so
that what else the machine does falls on all alike. What counts is the server's CPU per request, and its ratio in one
round; a table shows medians, and ratios with the least and the greatest of all rounds. Each table stands between
markers in the file: those that are not asked for stay as they are. README.md quotes some of them.

usage: run.py [--tables NAME,...] [--rounds N] [--seconds S] [--warm-up S] [--output FILE] [--place FOLDER]
(in a build folder)
"""
import argparse
import datetime
import json
import os
import platform
import pwd
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

SRCDIR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
RESULTS = os.path.join(SRCDIR, "bench", "RESULTS.md")
YAKUMO, YAKUMOD, HOTPATH = "tools/yakumo", "core/main/yakumod", "bench/hotpath"
PLUGIN_PATH = ":".join(os.path.abspath(name) for name in ("frontends", "backends", "plugins/filters",
                                                          "plugins/coordinators", "bench"))
ENVIRONMENT = {**os.environ, "YK_PLUGIN_PATH": PLUGIN_PATH, "LC_ALL": "C"}
CORES = sorted(os.sched_getaffinity(0))
MIB = 1 << 20
options = None


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def output_of(*command, **more):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)
        return done.stdout.strip()
    except OSError:
        return ""


# Servers

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pinned(cores):
    """For preexec_fn: the process runs there, and ends with a signal of its own parent only."""
    return lambda: os.sched_setaffinity(0, cores)


def server_cores():
    """One core for the server and another one for the loader, where there are two."""
    return CORES[:1] if len(CORES) > 1 else CORES


def loader_cores():
    return CORES[1:2] if len(CORES) > 1 else CORES


class Server:
    """One that runs. kind: bare, memcached, redis, valkey, yakumo, or yakumo on a loop that is named; the rest are
    its settings."""

    protocol = "text"

    def __init__(self, kind, place, workers=1, memory_mib=1024, evicts=True, value_size=100, cores=None, extra=()):
        self.kind, self.port, self.place = kind, free_port(), place
        self.workers, self.memory_mib, self.evicts, self.value_size = workers, memory_mib, evicts, value_size
        self.extra = list(extra)
        if kind in ("redis", "valkey"):
            self.protocol = "resp"
        self.child = None
        self.cores = cores or server_cores()
        self.start()

    def command(self):
        port, user = str(self.port), pwd.getpwuid(os.getuid()).pw_name
        if self.kind == "bare":
            return [YAKUMO, "bench", "--bare", f"--listen=127.0.0.1:{port}", f"--value-size={self.value_size}"]
        if self.kind == "memcached":
            return ["memcached", "-l", "127.0.0.1", "-p", port, "-U", "0", "-u", user, "-t", str(self.workers),
                    "-m", str(self.memory_mib), "-c", "4096", *([] if self.evicts else ["-M"]), *self.extra]
        if self.kind in ("redis", "valkey"):
            return [f"{self.kind}-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no",
                    "--io-threads", "1", "--dir", self.place, "--maxclients", "4096", *self.extra]
        command = [YAKUMOD]
        loop = self.kind.rpartition(" ")[2] if " on " in self.kind else "auto"
        for option in (f"node.io={loop}", f"node.data={os.path.join(self.place, 'yakumo')}",
                       f"node.workers={self.workers}", "node.max_connections=4096",
                       f"bucket.default.memory_max={self.memory_mib}M",
                       f"bucket.default.evict={'s3fifo' if self.evicts else 'none'}",
                       f"frontend.memcached.listen=127.0.0.1:{port}", *self.extra):
            command += ["-o", option]
        return command

    def start(self):
        """Returns after how many seconds it served."""
        log, begun = os.path.join(self.place, f"{self.port}.log"), time.monotonic()
        with open(log, "wb") as file:
            self.child = subprocess.Popen(self.command(), env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                                          stdout=file, stderr=file, preexec_fn=pinned(self.cores))
        while not self.is_ready(log):
            if self.child.poll() is not None:
                with open(log, encoding="utf-8", errors="replace") as file:
                    raise SystemExit(f"bench: {' '.join(self.command())} ended: {file.read().strip()}")
            time.sleep(0.001)
        return time.monotonic() - begun

    def is_ready(self, log):
        """A node listens before its engines are open, and says when they are."""
        if self.kind.startswith("yakumo"):
            with open(log, "rb") as file:
                return b" main: ready " in file.read()
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
            return True
        except ConnectionRefusedError:
            return False

    def stop(self):
        self.child.terminate()
        try:
            self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Cluster:
    """Three nodes on this machine, each with a copy of everything; a client talks to one of them."""

    protocol = "text"

    def __init__(self, place, durability):
        self.file = os.path.join(place, "cluster.conf")
        ports = [free_port() for _ in range(6)]
        self.port = ports[0]
        text = (f"[cluster]\ncoordinator = quorum\n[bucket default]\nbackend = memory\ndurability = {durability}\n"
                f"copies = 3\n[frontend memcached]\nlisten = 127.0.0.1:{ports[0]}\n")
        for i, name in enumerate("abc"):
            text += (f"[node {name}]\nroles = manager, server, gateway\naddress = 127.0.0.1:{ports[3 + i]}\n"
                     f"data = {place}/{name}\nfrontend.memcached.listen = 127.0.0.1:{ports[i]}\n")
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(text)
        self.pids = [int(pid) for pid in re.findall(r"started, pid (\d+)", self.run("up"))]

    def run(self, verb, *arguments):
        done = subprocess.run([YAKUMO, verb, self.file, *arguments], env=ENVIRONMENT, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"bench: yakumo {verb}: {done.stdout.strip()}")
        return done.stdout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.run("down")


class Etcd:
    """Three members on this machine; a client talks to the JSON gateway of the leader."""

    protocol = "etcd"

    def __init__(self, place):
        peers, self.clients = ([f"http://127.0.0.1:{free_port()}" for _ in range(3)] for _ in range(2))
        members = ",".join(f"m{i}={peer}" for i, peer in enumerate(peers))
        self.children = []
        for i in range(3):
            with open(os.path.join(place, f"etcd-{i}.log"), "wb") as log:
                self.children.append(subprocess.Popen(
                    ["etcd", "--name", f"m{i}", "--data-dir", os.path.join(place, f"etcd-{i}"), "--log-level", "error",
                     "--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i],
                     "--listen-client-urls", self.clients[i], "--advertise-client-urls", self.clients[i],
                     "--initial-cluster", members, "--initial-cluster-token", place],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        self.pids = [child.pid for child in self.children]
        self.port = self.leader()

    def leader(self):
        """Its port, when there is one."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            for url in self.clients:
                try:
                    with urllib.request.urlopen(urllib.request.Request(f"{url}/v3/maintenance/status", b"{}"),
                                                timeout=1) as answer:
                        status = json.load(answer)
                except OSError:
                    continue
                if status.get("leader", "0") != "0" and status["leader"] == status["header"]["member_id"]:
                    return int(url.rpartition(":")[2])
            time.sleep(0.1)
        raise SystemExit("bench: etcd has no leader after 30 s")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in self.children:
            child.terminate()
        for child in self.children:
            child.wait()


def load(server, *arguments, cores=None):
    """What `yakumo bench --json` says of a server, with what it says made handy."""
    pids = ",".join(map(str, server.pids)) if hasattr(server, "pids") else server.child.pid
    command = [YAKUMO, "bench", f"--server=127.0.0.1:{server.port}", f"--protocol={server.protocol}",
               f"--pid={pids}", "--json", "--quiet", *arguments]
    done = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False, preexec_fn=pinned(cores or loader_cores()))
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(command)}: {done.stderr.strip()}")
    report = json.loads(done.stdout)
    report["cpu_us"] = report["server"]["cpu_us_per_request"]
    report["busy"] = report["server"]["cpu_seconds"] / max(report["seconds"], 1e-9)
    return report


def is_there(kind):
    program = {"memcached": "memcached", "redis": "redis-server", "valkey": "valkey-server"}.get(kind)
    return program is None or shutil.which(program) is not None


# Tables

def number(value, digits=0):
    return f"{value:,.{digits}f}".replace(",", " ")


def table(head, rows):
    """Markdown; head: names, those that begin with '<' stand to the left."""
    lines = ["| " + " | ".join(name.lstrip("<") for name in head) + " |",
             "| " + " | ".join("---" if name.startswith("<") else "---:" for name in head) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def verdict(value, target, is_at_most=True):
    if target is None:
        return "-"
    if (value <= target) if is_at_most else (value >= target):
        return "met"
    return f"missed by {abs(value / target - 1) * 100:.0f} %"


class Cases:
    """Figures of (case, server) in each round, and the ratios of servers within a case."""

    def __init__(self):
        self.reports = {}

    def add(self, case, kind, report):
        self.reports.setdefault((case, kind), []).append(report)

    def median(self, case, kind, figure):
        return statistics.median(figure(report) for report in self.reports[case, kind])

    def ratio_row(self, case, kind, peer, figure, target):
        """kind : peer, at most target; target None: only told, "better" where it is to be below 1."""
        name = f"{kind} / {peer}"
        if (case, peer) not in self.reports:
            return [case, name, "-", "-", "-" if target is None else f"<= {target}", f"{peer} is not installed"]
        ratios = [figure(ours) / figure(theirs)
                  for ours, theirs in zip(self.reports[case, kind], self.reports[case, peer])]
        ratio = statistics.median(ratios)
        return [case, name, f"{ratio:.2f}", f"{min(ratios):.2f} - {max(ratios):.2f}",
                "-" if target is None else f"<= {target}", verdict(ratio, target)]


def cpu_of(report):
    return report["cpu_us"]


RATIO_HEAD = ["<case", "<CPU per request", "median", "least - greatest", "target", "<verdict"]


def request_rows(cases, per_key=False):
    rows = []
    for (case, kind), reports in cases.reports.items():
        def median(figure):
            return statistics.median(figure(report) for report in reports)
        latency = [number(median(lambda report, key=key: report["latency_us"]["all"][key]))
                   for key in ("p50", "p99", "p99_9")]
        row = [case, kind, number(median(cpu_of), 2), number(median(lambda report: report["requests_per_second"])),
               *latency, number(median(lambda report: report["server"]["rss_at_end"] / MIB)),
               f"{median(lambda report: report['busy']):.2f}",
               number(median(lambda report: report["loader"]["cpu_us_per_request"]), 2)]
        if per_key:
            row.insert(3, number(median(lambda report: report["server"]["cpu_us_per_key"]), 3))
        rows.append(row)
    return rows


REQUEST_HEAD = ["<case", "<server", "CPU us/request", "requests/s", "p50 us", "p99 us", "p99.9 us", "RSS MiB",
                "cores busy", "loader us/request"]


def measure_requests(cases, case, kinds, arguments, **settings):
    for kind in kinds:
        if is_there(kind):
            with Server(kind, options.place, **settings) as server:
                cases.add(case, kind, load(server, "--fill", f"--warm-up={options.warm_up}",
                                           f"--seconds={options.seconds}", *arguments))


PEERS = ("bare", "memcached", "redis", "valkey", "yakumo", "yakumo on epoll")
SIZES = (("100 k keys", 100000), ("1 M keys", 1000000))


def by_keys(name, arguments, targets):
    """Each number of keys, each server; targets: peer -> greatest ratio, or None."""
    cases = Cases()
    for turn in range(options.rounds):
        for case, n_keys in SIZES:
            say(f"{name}: round {turn + 1} of {options.rounds}, {case}")
            measure_requests(cases, case, PEERS, [f"--keys={n_keys}", "--ratio=9:1", *arguments])
    ratios = [cases.ratio_row(case, "yakumo", peer, cpu_of, target)
              for case, _ in SIZES for peer, target in targets.items()]
    return table(REQUEST_HEAD, request_rows(cases)) + "\n\n" + table(RATIO_HEAD, ratios)


def run_requests():
    return by_keys("requests", ["--connections=50"], {"bare": 1.08, "memcached": 0.85, "redis": None})


def run_pipelines():
    return by_keys("pipelines", ["--connections=50", "--pipeline=16"], {"bare": 1.35, "redis": 0.5})


def run_many():
    cases, gets = Cases(), Cases()
    many, multi = "1000 connections", "gets of 100 keys"
    for turn in range(options.rounds):
        say(f"many: round {turn + 1} of {options.rounds}")
        measure_requests(cases, many, PEERS, ["--keys=100000", "--ratio=9:1", "--connections=1000"])
        measure_requests(gets, multi, PEERS,
                         ["--keys=100000", "--ratio=1:0", "--connections=50", "--multi-get=100"])
    ratios = [cases.ratio_row(case, "yakumo", peer, cpu_of, target)
              for cases, case in ((cases, many), (gets, multi))
              for peer, target in (("bare", None), ("memcached", 1.0), ("redis", 1.0))]
    head = REQUEST_HEAD[:3] + ["CPU us/key"] + REQUEST_HEAD[3:]
    return (table(REQUEST_HEAD, request_rows(cases)) + "\n\n" + table(head, request_rows(gets, per_key=True)) + "\n\n" +
            table(RATIO_HEAD, ratios))


def run_workers():
    cases = Cases()
    names = {}
    for turn in range(options.rounds):
        say(f"workers: round {turn + 1} of {options.rounds}")
        for kind in ("memcached", "yakumo"):
            for workers in (1, 2):
                if not is_there(kind):
                    continue
                names.setdefault(kind, []).append(workers)
                with Server(kind, options.place, workers=workers, cores=CORES) as server:
                    report = load(server, "--fill", "--keys=100000", "--connections=50", f"--warm-up={options.warm_up}",
                                  "--threads=2", f"--seconds={options.seconds}", cores=CORES)
                cases.add("100 k keys", f"{kind}, {workers} worker{'s' if workers > 1 else ''}", report)
    ratios = [cases.ratio_row("100 k keys", f"{kind}, 2 workers", f"{kind}, 1 worker", cpu_of,
                              1.15 if kind == "yakumo" else None) for kind in names]
    return table(REQUEST_HEAD, request_rows(cases)) + "\n\n" + table(RATIO_HEAD, ratios)


def run_memory():
    n_items, rows, bytes_per_item = 1000000, [], {}
    for turn in range(options.rounds):
        say(f"memory: round {turn + 1} of {options.rounds}")
        for kind in ("memcached", "redis", "valkey", "yakumo"):
            if is_there(kind):
                with Server(kind, options.place, memory_mib=4096, evicts=False) as server:
                    load(server, "--requests=1000", "--keys=1", "--key-prefix=x:")  # buffers of connections
                    report = load(server, "--fill", "--seconds=0", f"--keys={n_items}")
                grown = report["server"]["rss_after_fill"] - report["server"]["rss_at_start"]
                bytes_per_item.setdefault(kind, []).append(grown / n_items)
    for kind, sizes in bytes_per_item.items():
        rows.append([kind, number(statistics.median(sizes), 1), number(min(sizes), 1), number(max(sizes), 1)])
    ratios = []
    for peer, target in (("memcached", 0.85), ("redis", None)):
        if peer in bytes_per_item:
            ratio = statistics.median(ours / theirs
                                      for ours, theirs in zip(bytes_per_item["yakumo"], bytes_per_item[peer]))
            ratios.append([f"yakumo / {peer}", f"{ratio:.2f}", "-" if target is None else f"<= {target}",
                           verdict(ratio, target)])
        else:
            ratios.append([f"yakumo / {peer}", "-", "-", f"{peer} is not installed"])
    return (table(["<server", "bytes per item", "least", "greatest"], rows) + "\n\n" +
            table(["<growth", "median", "target", "<verdict"], ratios))


TRACES = (
    ("Zipf 0.99 of 2 M keys", ["--keys=2000000", "--key-distribution=zipf:0.99"]),
    ("the same, values of 10 to 1000 bytes", ["--keys=2000000", "--key-distribution=zipf:0.99",
                                              "--value-size=10-1000"]),
    ("Zipf 0.99, 30 % of it scans of 20 k keys", ["--keys=2000000",
                                                  "--key-distribution=zipf:0.99+scan:20000:0.3"]),
    ("a loop over 400 k keys", ["--keys=400000", "--key-distribution=sequential"]),
)
TARGETED = (TRACES[0][0], TRACES[2][0])


def run_hits():
    n_keys, together, rows = 2000000, 20, []
    rates = {}
    turns = min(options.rounds, 3)
    for turn in range(turns):
        for name, trace in TRACES:
            say(f"hits: round {turn + 1} of {turns}, {name}")
            for kind in ("memcached", "yakumo"):
                if is_there(kind):
                    with Server(kind, options.place, memory_mib=64) as server:
                        report = load(server, "--connections=8", f"--multi-get={together}", "--ratio=1:0",
                                      "--set-on-miss", f"--warm-up-requests={n_keys // together}",
                                      f"--requests={n_keys // together}",
                                      f"--seed={turn + 1}", *trace)
                    rates.setdefault((name, kind), []).append(
                        (report["hit_rate"], report["server"]["rss_at_end"] / MIB))
    for name, _ in TRACES:
        ours, our_rss = (statistics.median(column) for column in zip(*rates[name, "yakumo"]))
        row = [name, "-", f"{ours * 100:.2f} %", "-", "-", number(our_rss), "memcached is not installed"]
        if (name, "memcached") in rates:
            theirs, their_rss = (statistics.median(column) for column in zip(*rates[name, "memcached"]))
            row[1], row[4] = f"{theirs * 100:.2f} %", number(their_rss)
            row[3] = f"{(ours - theirs) * 100:+.2f}"
            row[6] = "-" if name not in TARGETED else "met" if ours > theirs else "missed"
        rows.append(row)
    return table(["<trace", "memcached", "yakumo", "points", "RSS MiB memcached", "RSS MiB yakumo",
                  "<target: higher"], rows)


# Without the kernel

def hotpath(*arguments, callgrind=False):
    """Nanoseconds, or instructions, of a request."""
    command = [HOTPATH, *arguments]
    if callgrind:
        command = ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=measured",
                   "--callgrind-out-file=/dev/null", *command]
    done = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False, preexec_fn=pinned(server_cores()))
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(command)}: {done.stderr.strip()}")
    n_requests, ns = re.search(r"requests=(\d+) ns_per_request=([\d.]+)", done.stdout).groups()
    if callgrind:
        return int(re.search(r"Collected : (\d+)", done.stderr)[1]) / int(n_requests)
    return float(ns)


def run_filter():
    verbs = ("get", "set")
    rows, costs = [], {}
    for turn in range(options.rounds):
        say(f"filter: round {turn + 1} of {options.rounds}")
        for verb in verbs:
            arguments = [f"--verb={verb}", "--keys=10000", "--requests=2000000"]
            without = hotpath(*arguments)
            costs.setdefault(verb, []).append((without, hotpath(*arguments, "--filters=nothing")))
    has_valgrind = shutil.which("valgrind") is not None
    for verb in verbs:
        # What disturbs a run only makes it slower: the fastest of all rounds is nearest to the truth.
        without, with_filter = (min(column) for column in zip(*costs[verb]))
        cost = with_filter - without
        instructions = "valgrind is not installed"
        if has_valgrind:
            arguments = [f"--verb={verb}", "--keys=1000", "--requests=20000"]
            instructions = number(hotpath(*arguments, "--filters=nothing", callgrind=True) -
                                  hotpath(*arguments, callgrind=True))
        rows.append([verb, number(without, 1), number(with_filter, 1), number(cost, 1), instructions, "<= 20",
                     verdict(cost, 20)])
    return table(["<verb", "ns/request", "with the filter", "ns more", "instructions more", "target ns", "<verdict"],
                 rows)


def run_instructions():
    if shutil.which("valgrind") is None:
        return "valgrind is not installed."
    rows = []
    for pipeline in (1, 16):
        say(f"instructions: pipelines of {pipeline}")
        arguments = [f"--pipeline={pipeline}", "--requests=40000"]
        counts = [hotpath(*arguments, f"--verb={verb}", callgrind=True) for verb in ("get", "set")]
        times = [hotpath(f"--pipeline={pipeline}", "--requests=1000000", f"--verb={verb}") for verb in ("get", "set")]
        rows.append([str(pipeline), *map(number, counts), *(number(ns) for ns in times)])
    return table(["pipeline", "instructions/get", "instructions/set", "ns/get", "ns/set"], rows)


# Engines

ENGINES = (("memory", "memory"), ("lmdb", "os"), ("lmdb", "disk"), ("tokyocabinet", "os"), ("tokyocabinet", "disk"),
           ("berkeleydb", "os"), ("berkeleydb", "disk"))


def disk_bytes(folder):
    return sum(os.lstat(os.path.join(place, name)).st_blocks * 512
               for place, _, names in os.walk(folder) for name in names)


def run_engine(engine, durability):
    n_items = 200000
    arguments = ["--connections=4", "--pipeline=100", f"--keys={n_items}", f"--requests={n_items}",
                 "--key-distribution=sequential"]
    place = tempfile.mkdtemp(dir=options.place)
    with Server("yakumo", place, workers=2, evicts=False, cores=CORES,
                extra=[f"bucket.default.backend={engine}", f"bucket.default.durability={durability}"]) as server:
        sets = load(server, *arguments, "--ratio=0:1", cores=CORES)
        gets = load(server, *arguments, "--ratio=1:0", "--verify", cores=CORES)
        server.stop()
        size = disk_bytes(os.path.join(place, "yakumo")) / n_items
        start = server.start()
    shutil.rmtree(place)
    return [sets["requests_per_second"], sets["cpu_us"], gets["requests_per_second"], gets["cpu_us"], size, start]


def run_engines():
    figures = {}
    built = [case for case in ENGINES if os.path.exists(f"backends/{case[0]}/{case[0]}.la")]
    for turn in range(options.rounds):
        for case in built:
            say(f"engines: round {turn + 1} of {options.rounds}, {case[0]} at {case[1]}")
            figures.setdefault(case, []).append(run_engine(*case))
    rows = []
    for case in ENGINES:
        if case not in figures:
            rows.append([*case, *["-"] * 5, "is not built"])
            continue
        sets, set_us, gets, get_us, size, start = (statistics.median(column) for column in zip(*figures[case]))
        rows.append([*case, number(sets), number(set_us, 1), number(gets), number(get_us, 1), number(size),
                     number(start, 2)])
    return table(["<engine", "<durability", "sets/s", "CPU us/set", "gets/s", "CPU us/get", "disk bytes/item",
                  "start s"], rows)


# The journal

DURABLE = {"yakumo": ["bucket.default.durability=disk"], "redis": ["--appendonly", "yes", "--appendfsync", "always"]}


def sets_of(report):
    return report["requests_per_second"]


SETS_HEAD = ["<case", "<sets per second", "median", "least - greatest", "target", "<verdict"]


def sets_row(cases, case, peer, target):
    """The more the better: at least target times those of the peer."""
    name = f"yakumo / {peer}"
    if (case, peer) not in cases.reports:
        return [case, name, "-", "-", "-", f"{peer} is not installed"]
    ratios = [sets_of(ours) / sets_of(theirs)
              for ours, theirs in zip(cases.reports[case, "yakumo"], cases.reports[case, peer])]
    ratio = statistics.median(ratios)
    return [case, name, f"{ratio:.2f}", f"{min(ratios):.2f} - {max(ratios):.2f}",
            "-" if target is None else f">= {target}", verdict(ratio, target, is_at_most=False)]


def run_disk():
    """The more the better here: so the ratios are of sets per second."""
    cases = Cases()
    for turn in range(options.rounds):
        for n_clients in (1, 64, 512):
            say(f"disk: round {turn + 1} of {options.rounds}, {n_clients} clients")
            for kind in ("redis", "yakumo"):
                if is_there(kind):
                    place = tempfile.mkdtemp(dir=options.place)
                    with Server(kind, place, workers=2, evicts=False, cores=CORES, extra=DURABLE[kind]) as server:
                        report = load(server, "--ratio=0:1", "--keys=100000", f"--connections={n_clients}",
                                      f"--warm-up={options.warm_up}", f"--seconds={options.seconds}", cores=CORES)
                    shutil.rmtree(place)
                    cases.add(f"{n_clients} client{'s' if n_clients > 1 else ''}", kind, report)
    rows = [sets_row(cases, case, "redis", target)
            for case, target in (("1 client", None), ("64 clients", 1.5), ("512 clients", None))]
    return table(REQUEST_HEAD, request_rows(cases)) + "\n\n" + table(SETS_HEAD, rows)


def run_journal():
    cases = Cases()
    loads = {"one at a time": ["--connections=50"], "pipelines of 16": ["--connections=50", "--pipeline=16"]}
    for turn in range(options.rounds):
        for case, arguments in loads.items():
            for durability in ("memory", "os", "disk"):
                say(f"journal: round {turn + 1} of {options.rounds}, {case}, {durability}")
                place = tempfile.mkdtemp(dir=options.place)
                with Server("yakumo", place, workers=1, evicts=False, cores=CORES,
                            extra=[f"bucket.default.durability={durability}"]) as server:
                    report = load(server, "--ratio=0:1", "--keys=100000", *arguments, "--fill",
                                  f"--warm-up={options.warm_up}", f"--seconds={options.seconds}", cores=CORES)
                shutil.rmtree(place)
                cases.add(case, durability, report)
    ratios = [cases.ratio_row(case, durability, "memory", cpu_of, None)
              for case in loads for durability in ("os", "disk")]
    head = [name.replace("<server", "<durability") for name in REQUEST_HEAD]
    return table(head, request_rows(cases)) + "\n\n" + table(RATIO_HEAD, ratios)


def processes_cpu(pids):
    """Seconds that they have taken so far."""
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


# us of CPU of all processes, as measured once on two cores of another machine: least and greatest
KUMOFS = {"gets": (56, 61), "sets": (108, 174)}


def run_cluster():
    cases, idle = Cases(), []
    for turn in range(options.rounds):
        say(f"cluster: round {turn + 1} of {options.rounds}")
        place = tempfile.mkdtemp(dir=options.place)
        with Cluster(place, "os") as cluster:
            load(cluster, "--fill", "--seconds=0", cores=CORES)
            for case, ratio in (("gets", "1:0"), ("sets", "0:1")):
                cases.add(case, "yakumo", load(cluster, f"--ratio={ratio}", f"--warm-up={options.warm_up}",
                                               f"--seconds={options.seconds}", cores=CORES))
            before = processes_cpu(cluster.pids)
            time.sleep(3)
            idle.append((processes_cpu(cluster.pids) - before) / 3)
        shutil.rmtree(place)
    rows = []
    for case, (least, greatest) in KUMOFS.items():
        cpu = cases.median(case, "yakumo", cpu_of)
        rows.append([case, f"{least} - {greatest}", number(cpu, 1), f"{cpu / greatest:.2f} - {cpu / least:.2f}",
                     "<= 0.2", verdict(2 * cpu / (least + greatest), 0.2)])
    return (table(REQUEST_HEAD, request_rows(cases)) + "\n\n" +
            table(["<case", "kumofs us", "yakumo us", "ratio to its greatest - least", "target",
                   "<verdict, to the middle"], rows) +
            f"\n\nWithout any client the three nodes take {statistics.median(idle) * 100:.1f} % of a core.")


def run_cluster_disk():
    cases = Cases()
    for turn in range(options.rounds):
        say(f"cluster-disk: round {turn + 1} of {options.rounds}")
        for kind in ("etcd", "yakumo"):
            if kind == "yakumo" or shutil.which("etcd"):
                place = tempfile.mkdtemp(dir=options.place)
                with (Cluster(place, "disk") if kind == "yakumo" else Etcd(place)) as server:
                    cases.add("64 clients", kind, load(
                        server, "--ratio=0:1", "--connections=64", f"--warm-up={options.warm_up}",
                        f"--seconds={options.seconds}", cores=CORES))
                shutil.rmtree(place)
    return table(REQUEST_HEAD, request_rows(cases)) + "\n\n" + table(SETS_HEAD, [
        sets_row(cases, "64 clients", "etcd", 10)])


def run_start():
    """How long a node takes to serve again."""
    n_items, rows, seconds = 10000000, [], {}
    for turn in range(options.rounds):
        say(f"start: round {turn + 1} of {options.rounds}")
        place = tempfile.mkdtemp(dir=options.place)
        with Server("yakumo", place, workers=2, memory_mib=0, evicts=False, cores=CORES,
                    extra=["bucket.default.durability=os"]) as server:
            load(server, "--fill", "--seconds=0", f"--keys={n_items}", cores=CORES)
            for end in ("TERM", "kill -9"):
                (server.child.terminate if end == "TERM" else server.child.kill)()
                server.child.wait()
                size = disk_bytes(os.path.join(place, "yakumo"))
                seconds.setdefault(end, []).append((server.start(), size / MIB))
        shutil.rmtree(place)
    for end, figures in seconds.items():
        took, size = (statistics.median(column) for column in zip(*figures))
        rows.append([f"after {end}", number(took, 2), number(size), number(size / took)])
    return table(["<start", "seconds", "MiB on disk", "MiB/s"], rows)


# The file

PINNED = "The server has one core to itself and the loader another one"
TABLES = {
    "requests": ("One request at a time", run_requests, f"""\
90 % get, keys of 19 bytes, values of 100 bytes, chosen uniformly; 50 connections, one request under way on each;
one worker or thread; yakumo's bucket is on the memory engine, without a journal.
{PINNED}.
`bare` is `yakumo bench --bare`, a loop that finds the ends of lines and answers with a fixed value: the kernel's
share. `yakumo` runs the loop that it chooses by itself."""),
    "pipelines": ("Pipelines of 16", run_pipelines, f"""\
The same load with 16 requests in one write of a connection. memcached 1.6.18 (Debian's) sends once for each get, and
so is no yardstick here; Redis is.
{PINNED}."""),
    "many": ("Many connections, and gets of many keys", run_many, f"""\
The first load with 1000 connections; then only gets, of 100 keys each (RESP: MGET).
{PINNED}."""),
    "workers": ("Two workers against one", run_workers, """\
The first load from two loader threads, so that the clients are spread over both workers. Servers and loader share
all cores here, one worker or two."""),
    "memory": ("Bytes per item", run_memory, """\
How the resident memory of the whole process grows by 1 M items with keys of 19 and values of 100 bytes, divided by
their number; nothing may be evicted."""),
    "hits": ("Hit rates", run_hits, """\
A cache beside a database: keys that a get did not find are set next. Both servers are asked for the same keys in the
same order (one loader thread, the same seed, twenty keys in a get, eight gets under way), have 64 MB (`-m 64` and
`memory_max = 64M`), and values of 100 bytes unless it says otherwise; 2 M keys are measured after 2 M others. Each
round has a seed of its own."""),
    "instructions": ("Instructions of a request", run_instructions, """\
One worker with frontend and engine, stepped without the kernel by `bench/hotpath`: 100 k keys, 50 connections;
instructions counted by callgrind in the measured part."""),
    "filter": ("A filter that does nothing", run_filter, """\
`bench/nothing.c` hands every call on. What it adds to a request in `bench/hotpath`, which steps one worker without
the kernel; the fastest run of all rounds."""),
    "engines": ("Engines", run_engines, """\
What sets and gets of 100-byte values cost through a node: 200 000 items, four connections, 100 commands in each
pipeline, `get` one key per command, two workers, sixteen lanes. `disk bytes/item` is what the data folder takes after
TERM; `start s` is how long the next start takes until the node serves. Node and loader share all cores.

A set is answered when it stands in the node's journal, whatever the engine; that takes it up in batches afterwards.
Tokyo Cabinet as Debian builds it yields and locks in its debug checks; its CPU per set is dearer for it."""),
    "disk": ("Sets that are on the disk", run_disk, """\
Only sets, of 100-byte values; each is answered when a loss of power would not take it: `durability = disk` on the
memory engine, two workers, against Redis with `appendonly yes` and `appendfsync always`. Server and loader share all
cores."""),
    "journal": ("What the journal costs", run_journal, """\
Only sets, of 100-byte values, on the memory engine with one worker; CPU of all threads of the server. At `memory`
there is no journal, at `os` a set is answered when it is written, at `disk` when it is on the device. Server and
loader share all cores."""),
    "cluster": ("Three nodes, three copies", run_cluster, """\
Three nodes on this machine by `yakumo up`, coordinator quorum, `durability = os`, the memory engine; 50 connections to
one of the nodes, as kumofs had one gateway, 100-byte values; CPU of all nodes together. kumofs's figures were measured
once, with three servers, a manager and a gateway on two cores."""),
    "cluster-disk": ("Sets on three disks", run_cluster_disk, """\
Only sets, of 100-byte values, from 64 connections: three nodes with `durability = disk` against three members of etcd,
loaded at their leader through its JSON gateway. All share one machine and one disk."""),
    "start": ("A start with 10 M items", run_start, """\
10 M items of 19 and 100 bytes in a bucket on the memory engine with `durability = os`, two workers: how long a start
takes until the node serves, from its snapshots and the journal, with the files in the page cache."""),
}
HEAD = """\
# Results

Figures of one machine on one day, made by `make bench`; [HACKING.md](../HACKING.md) says how. Only rows of one table
may be compared with each other; what counts is their ratio, and CPU per operation more than operations per second,
since clients and servers share the cores. A ratio is taken within a round; the median of all rounds is shown, with
the least and the greatest. Targets are the project's own.
"""


def describe_machine():
    model = re.search(r"^model name\s*:\s*(.*)$", open("/proc/cpuinfo", encoding="ascii").read(), re.M)
    lines = [f"- {model[1] if model else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"]
    versions = []
    for package in ("gcc", "memcached", "redis-server", "valkey-server", "liblmdb0", "libtokyocabinet9", "libdb5.3",
                    "etcd-server"):
        shown = output_of("dpkg-query", "--show", "--showformat=${Status} ${Version}", package)
        if shown.startswith("install ok installed "):
            versions.append(f"{package} {shown.split()[-1]}")
    for command in (["memcached", "-V"], ["redis-server", "--version"], ["valkey-server", "--version"]):
        if shutil.which(command[0]) and not any(command[0] in version for version in versions):
            versions.append(output_of(*command))
    lines.append(f"- {', '.join(versions) or 'no packages known to dpkg'}")
    return "\n".join(lines)


def describe_commit():
    """What is measured; the files that are written here do not count."""
    commit = output_of("git", "-C", SRCDIR, "rev-parse", "--short=7", "HEAD")
    if not re.fullmatch(r"[0-9a-f]+", commit):
        return "of no known commit"
    changes = output_of("git", "-C", SRCDIR, "status", "--porcelain", "--untracked-files=no", "--",
                        ":/", ":!/bench/RESULTS.md", ":!/README.md")
    return commit + (" with changes" if changes else "")


def read_tables(path):
    """name -> what stands between its markers."""
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        text = file.read()
    return {match[1]: match[2] for match in re.finditer(r"<!-- ([\w-]+) -->\n(.*?)<!-- end -->\n", text, re.S)}


def write_tables(path, tables):
    text = HEAD
    for name in ("machine", *TABLES, "notes"):  # the notes are written by hand
        if name in tables:
            text += f"\n<!-- {name} -->\n{tables[name]}<!-- end -->\n"
    with open(path + "-t", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + "-t", path)


def write_quotes(path, tables):
    """README.md quotes tables of ours, each between markers that say which one of which section."""
    with open(path, encoding="utf-8") as file:
        text = file.read()

    def quote(match):
        found = re.findall(r"(?:^\|.*\n)+", tables.get(match[2], ""), re.M)
        index = int(match[3])
        return match[1] + (found[index] if index < len(found) else match[4]) + "<!-- end -->\n"

    quoted = re.sub(r"(<!-- RESULTS ([\w-]+) (\d+) -->\n)(.*?)<!-- end -->\n", quote, text, flags=re.S)
    if quoted != text:
        with open(path, "w", encoding="utf-8") as file:
            file.write(quoted)


def run_table(name):
    title, function, text = TABLES[name]
    begun = time.monotonic()
    body = function()
    say(f"{name}: {time.monotonic() - begun:.0f} s")
    today = datetime.date.today().isoformat()
    command = f"make bench BENCH={name} ROUNDS={options.rounds} SECONDS={options.seconds:g}"
    return (f"## {title}\n    {command}\n\nCommit {describe_commit()}, {today}.\n\n{text}\n\n{body}\n")


def main():
    global options
    parser = argparse.ArgumentParser(usage=__doc__.rpartition("usage: ")[2].partition("(")[0])
    parser.add_argument("--tables", default="")
    parser.add_argument("--rounds", type=lambda text: int(text or 5), default=5)
    parser.add_argument("--seconds", type=lambda text: float(text or 4), default=4)
    parser.add_argument("--warm-up", type=float, default=2, help="seconds before each measured phase")
    parser.add_argument("--output", default=RESULTS)
    parser.add_argument("--place", default=".", help="folder for data; engines should find a disk there")
    options = parser.parse_args()
    names = [name for name in re.split(r"[\s,]+", options.tables) if name] or list(TABLES)
    unknown = sorted(set(names) - set(TABLES))
    if unknown or options.rounds < 1 or options.seconds <= 0:
        parser.error(f"no table {', '.join(unknown)}; there are {' '.join(TABLES)}" if unknown else
                     "--rounds is 1 or more and --seconds more than 0")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        options.place = place
        for name in names:
            text = run_table(name)
            tables = read_tables(options.output)
            tables["machine"] = describe_machine() + "\n"
            tables[name] = text
            write_tables(options.output, tables)
            if options.output == RESULTS:
                write_quotes(os.path.join(SRCDIR, "README.md"), tables)


main()
