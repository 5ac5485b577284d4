#!/usr/bin/env python3
"""`yakumo bench` against a node, against memcached and Redis if they are here, and against itself: counts, not times.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/bench.py [CASE ...]
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from yakumo import Client, Node, equal, eventually, free_port, matches, skip, spawn, temporary

TOOL = os.path.join(yakumo.BUILDDIR, "tools", "yakumo")
N_KEYS, N_REQUESTS = 1000, 5000
FIELDS = {"server_address", "protocol", "threads", "connections", "pipeline", "multi_get", "keys", "rate",
          "interrupted", "fill", "seconds", "requests", "requests_per_second", "gets", "sets", "hits", "misses",
          "hit_rate", "error_replies", "errors", "late", "latency_us", "loader"}
SERVER_FIELDS = {"cpu_seconds", "cpu_us_per_request", "cpu_us_per_key", "user_share", "rss_at_start",
                 "rss_after_fill", "rss_at_end"}
LATENCY_FIELDS = {"mean", "p50", "p90", "p99", "p99_9", "p99_99", "max"}


def bench(*arguments, status=0):
    """(standard output, standard error) of `yakumo bench`."""
    done = subprocess.run([TOOL, "bench", f"--timeout={yakumo.TIMEOUT_S}", *arguments], env=yakumo.environment(),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=30 * yakumo.SLOW, check=False)
    equal(done.returncode, status, f"exit status (with {done.stdout!r} and {done.stderr!r})")
    return done.stdout, done.stderr


def report_of(port, *arguments, status=0):
    out, err = bench(f"--server=127.0.0.1:{port}", "--json", *arguments, status=status)
    if status == 0:
        equal(err, "", "standard error")
    report = json.loads(out)
    equal(report["gets"] + report["sets"], report["requests"], "gets and sets")
    for name in ("get", "set", "all"):
        equal(set(report["latency_us"][name]), LATENCY_FIELDS, f"fields of the latency of {name}")
        latency = report["latency_us"][name]
        steps = [latency[key] for key in ("p50", "p90", "p99", "p99_9", "p99_99", "max")]
        equal(steps, sorted(steps), f"quantiles of {name}")
    return report


def refused(*arguments):
    """Wrong usage: one line on standard error."""
    out, err = bench(*arguments, status=2)
    equal(out, "", "standard output")
    matches(err, r"\Ayakumo bench: [^\n]+\n\Z", "standard error")
    return err


# Servers

def wait_for(child, port):
    def is_up():
        if child.poll() is not None:
            raise AssertionError(f"{child.args[0]} ended")
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return True
        except OSError:
            return False
    eventually(is_up, what=f"{child.args[0]} to listen")


def program(name, *arguments):
    if shutil.which(name) is None:
        skip(f"no {name}")
    port = free_port()
    child = spawn([name, *[argument.format(port=port) for argument in arguments]], stdin=subprocess.DEVNULL,
                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=yakumo.folder)
    wait_for(child, port)
    return child, port


def end(child):
    child.terminate()
    child.wait()


def bare(*arguments):
    """A bare responder and its port, which it chooses and says."""
    child = spawn([TOOL, "bench", "--bare", "--listen=127.0.0.1:0", *arguments], env=yakumo.environment(),
                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    line = child.stdout.readline()
    matches(line, r"\Alistening on 127\.0\.0\.1:\d+\n", "what it says")
    return child, int(line.rpartition(":")[2])


class Impostor(threading.Thread):
    """Takes connections, and answers whatever comes with the same bytes; then closes, or keeps still."""

    def __init__(self, answer, closes=False):
        super().__init__(daemon=True)
        self.answer, self.closes = answer, closes
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        kept = []
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            kept.append(connection)
            connection.recv(1 << 16)
            connection.sendall(self.answer)
            if self.closes:
                connection.close()


# Loads

def check_load(port, pid, protocol, stats=None):
    """Fill, then gets and sets in pipelines over several threads; stats: () -> (gets, sets) of the server."""
    before = stats() if stats else None
    arguments = [f"--keys={N_KEYS}", f"--requests={N_REQUESTS}", f"--protocol={protocol}", "--verify",
                 f"--pid={pid}", "--connections=7", "--threads=3"]
    report = report_of(port, *arguments, "--fill", "--pipeline=5", "--ratio=3:1", "--value-size=0-3000")
    equal(set(report), FIELDS | {"server"}, "fields")
    equal(set(report["server"]), SERVER_FIELDS, "fields of the server")
    equal(report["requests"], N_REQUESTS, "requests")
    equal(report["fill"]["sets"], N_KEYS, "sets of the fill")
    equal((report["hits"], report["misses"], report["error_replies"]), (report["gets"], 0, 0), "hits, misses, errors")
    assert 0.6 * N_REQUESTS < report["gets"] < 0.9 * N_REQUESTS, report["gets"]
    assert report["server"]["rss_at_end"] > 1000000, report["server"]
    if stats:
        after = stats()
        equal(after[0] - before[0], report["gets"], "gets of the server")
        equal(after[1] - before[1], report["sets"] + N_KEYS, "sets of the server")
    # Other keys are not there; a set of what was missed makes them be.
    missing = [*arguments, "--key-prefix=new:", "--key-distribution=sequential", "--ratio=1:0", "--threads=1"]
    report = report_of(port, *missing, f"--requests={N_KEYS}")
    equal((report["hits"], report["misses"], report["hit_rate"]), (0, N_KEYS, 0), "hits and misses of new keys")
    report = report_of(port, *missing, f"--requests={3 * N_KEYS}", "--set-on-miss", "--connections=1",
                       "--pipeline=10")
    equal((report["hits"], report["misses"], report["sets"]), (2 * N_KEYS, N_KEYS, N_KEYS),
          "hits, misses and sets of a loop of three turns")
    if protocol != "meta":
        report = report_of(port, *missing, f"--requests={N_KEYS // 10}", "--multi-get=10", "--pipeline=2")
        equal((report["hits"], report["misses"]), (N_KEYS, 0), "hits of gets of ten keys")


def memcached_stats(port):
    def stats():
        with Client(("127.0.0.1", port)) as client:
            figures = client.stats()
        return int(figures["cmd_get"]), int(figures["cmd_set"])
    return stats


def node_text():
    node = Node()
    check_load(node.port, node.pid, "text", memcached_stats(node.port))


def node_meta():
    node = Node()
    check_load(node.port, node.pid, "meta", memcached_stats(node.port))


def memcached():
    child, port = program("memcached", "-l", "127.0.0.1", "-p", "{port}", "-U", "0",
                          *(["-u", "root"] if os.getuid() == 0 else []))
    check_load(port, child.pid, "text", memcached_stats(port))
    with Client(("127.0.0.1", port)) as client:
        equal(client.ask(b"flush_all"), b"OK", "flush_all")
    check_load(port, child.pid, "meta", memcached_stats(port))
    end(child)


def redis():
    child, port = program("redis-server", "--bind", "127.0.0.1", "--port", "{port}", "--save", "", "--appendonly", "no")
    check_load(port, child.pid, "resp")
    end(child)


def bare_responder():
    child, port = bare("--value-size=3")
    for protocol in ("text", "resp"):
        report = report_of(port, f"--protocol={protocol}", f"--requests={N_REQUESTS}", "--pipeline=7",
                           f"--pid={child.pid}")
        equal((report["requests"], report["misses"]), (N_REQUESTS, 0), f"requests and misses by {protocol}")
        report = report_of(port, f"--protocol={protocol}", "--requests=100", "--multi-get=33", "--ratio=1:0",
                           "--connections=3")
        equal(report["hits"], 3300, f"keys by {protocol}")
        # Requests and values that do not fit one read.
        report_of(port, f"--protocol={protocol}", "--requests=50", "--ratio=0:1", "--value-size=300000",
                  "--connections=2", "--pipeline=3")
    # Values of another size than it answers with.
    _, err = bench(f"--server=127.0.0.1:{port}", "--requests=1", "--ratio=1:0", "--verify", "--value-size=4", status=1)
    matches(err, r"expected a value of 4 bytes, got \"VALUE key:\d+ 0 3\"", "standard error")
    end(child)
    equal(child.returncode, 0, "its exit status")


def unix_socket():
    node = Node(options=[f"frontend.memcached.listen=unix:{temporary('sock')}"])
    out, _ = bench(f"--server=unix:{node.address()}", "--json", "--fill", "--requests=1000", "--keys=100")
    report = json.loads(out)
    equal((report["requests"], report["misses"]), (1000, 0), "requests and misses")


def open_loop():
    child, port = bare()
    report = report_of(port, "--requests=2000", "--rate=5000", "--threads=2", "--connections=4")
    equal((report["requests"], report["late"]), (2000, 0), "requests, and late ones")
    # No requests come sooner than they are due.
    assert report["seconds"] >= 0.39, report["seconds"]
    end(child)


def stall_is_charged():
    """A server that stands still: an open loop counts what was due meanwhile, each with its own wait."""
    child, port = bare()
    done = {}
    thread = threading.Thread(target=lambda: done.update(
        report_of(port, "--requests=3000", "--rate=2000", "--connections=1", "--ratio=1:0")))
    thread.start()
    threading.Event().wait(0.3)
    os.kill(child.pid, signal.SIGSTOP)
    threading.Event().wait(0.6)
    os.kill(child.pid, signal.SIGCONT)
    thread.join()
    equal(done["requests"], 3000, "requests")
    # 1200 of 3000 were due while it stood still; a closed loop would know of one.
    assert done["latency_us"]["all"]["max"] >= 500000, done["latency_us"]
    assert done["latency_us"]["all"]["p90"] >= 200000, done["latency_us"]
    end(child)


def seeds():
    """The same seed asks for the same keys."""
    figures = []
    for seed in (1, 1, 2):
        node = Node()
        report = report_of(node.port, "--requests=3000", "--keys=2000", "--key-distribution=zipf:0.99",
                           "--set-on-miss", "--ratio=1:0", "--connections=1", f"--seed={seed}")
        figures.append(report["misses"])
        node.stop()
    equal(figures[0], figures[1], "misses with the same seed")
    assert figures[1] != figures[2], figures


def error_replies():
    node = Node(options=["bucket.default.value_size_max=1000"])
    arguments = [f"--server=127.0.0.1:{node.port}", "--keys=10", "--value-size=2000"]
    out, err = bench(*arguments, "--json", "--requests=100", "--ratio=0:1", status=1)
    report = json.loads(out)
    equal((report["sets"], report["error_replies"]), (100, 100), "sets, and error replies")
    equal([row["count"] for row in report["errors"]], [100], "error replies by text")
    matches(report["errors"][0]["text"], "^SERVER_ERROR object too large", "their text")
    matches(err, "100 requests were refused, such as by \"SERVER_ERROR", "standard error")
    _, err = bench(*arguments, "--fill", "--requests=1", status=1)
    matches(err, "while filling, the server refused 10 of 10 sets: \"SERVER_ERROR", "standard error")


def wrong_answers():
    for answer, pattern in ((b"HELLO\r\n", r'expected VALUE or END, got "HELLO"'),
                            (b"\x00\xff\r\n", r'got "\\x00\\xff"'),
                            (b"END\r\nEND\r\n", r'expected nothing more, got "END'),
                            (b"a" * 5000, r'expected a line that ends in \\r\\n, got "a{60}"\.\.\.'),
                            (b"VALUE other 0 1\r\n", r"a key that was asked for")):
        impostor = Impostor(answer)
        _, err = bench(f"--server=127.0.0.1:{impostor.port}", "--requests=5", "--ratio=1:0", "--connections=1",
                       status=1)
        matches(err, pattern, f"what is said of {answer[:20]!r}")


def server_fails():
    _, err = bench(f"--server=127.0.0.1:{free_port()}", "--requests=1", status=1)
    matches(err, r"cannot connect: Connection refused", "standard error")
    _, err = bench(f"--server=127.0.0.1:{Impostor(b'', closes=True).port}", "--requests=1", status=1)
    matches(err, r"closed a connection|Connection reset", "standard error")
    _, err = bench(f"--server=127.0.0.1:{Impostor(b'VALUE key:').port}", "--requests=1", "--timeout=0.3", status=1)
    matches(err, r"no answer within 0\.3 s, with 1 keys under way", "standard error")
    child, port = bare()
    _, err = bench(f"--server=127.0.0.1:{port}", "--requests=1", "--pid=999999999", status=1)
    matches(err, r"process 999999999 is not there", "standard error")
    end(child)


def bad_options():
    for argument, pattern in (("--threads=0", "--threads is 1 to 64, not 0"),
                              ("--threads=65", "--threads is 1 to 64, not 65"),
                              ("--pipeline=5000", "--pipeline is 1 to 4096, not 5000"),
                              ("--connections=0", "--connections is 1 to 100000, not 0"),
                              ("--keys=0", "--keys is 1 to 1000000000000, not 0"),
                              ("--ratio=0:0", "--ratio is GETS:SETS"),
                              ("--ratio=1", "--ratio is GETS:SETS"),
                              ("--protocol=http", "--protocol is text, meta, resp or etcd, not 'http'"),
                              ("--key-size=8", "--key-size: is 9 to 250 here, not 8"),
                              ("--value-size=1-x", "--value-size: '1-x' is no size"),
                              ("--value-size=20000000", "--value-size: is 0 to 16777216 here, not 20000000"),
                              ("--key-prefix=a b", "--key-prefix has a blank"),
                              ("--key-distribution=zipf:3", "zipf takes more than 0 and less than 2"),
                              ("--seconds=-3", "--seconds"),
                              ("--timeout=0", "--timeout is 0.001 to"),
                              ("--server=nowhere", "'nowhere' is no HOST:PORT"),
                              ("--pid=1,x", "--pid is process numbers"),
                              ("--no-such", "Unknown option")):
        matches(refused(argument), pattern, f"what is said of {argument}")
    matches(refused("--protocol=etcd"), "etcd is loaded with sets only: --ratio=0:1", "etcd and gets")
    matches(refused("--protocol=meta", "--multi-get=2"), "--multi-get is 1 with them", "meta and multi-get")
    matches(refused("--threads=5", "--connections=4"), "less than --threads, 5", "threads without a connection")
    matches(refused("--connections=10000", "--pipeline=4096", "--value-size=1000"), "would need", "memory")
    matches(refused("--bare", "--value-size=2000000"), "--value-size: is 0 to 1048576", "size of bare")
    matches(bench("--bare", "--listen=nowhere", status=1)[1], "no HOST:PORT", "where bare listens")


def interrupted():
    child, port = bare()
    loader = spawn([TOOL, "bench", f"--server=127.0.0.1:{port}", "--seconds=1000", "--json", "--progress"],
                   env=yakumo.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # The progress line says when it is on its way.
    equal(loader.stderr.read(9).strip(), "measured", "progress line")
    loader.send_signal(signal.SIGINT)
    out, _ = loader.communicate()
    equal(loader.returncode, 0, "exit status")
    report = json.loads(out)
    equal(report["interrupted"], True, "interrupted")
    assert report["requests"] > 0, report
    end(child)


def words():
    """The report for people has what the JSON has."""
    node = Node()
    out, _ = bench(f"--server=127.0.0.1:{node.port}", "--fill", "--requests=1000", "--keys=100",
                   f"--pid={node.pid}")
    for pattern in (r"^filled   100 keys", r"^measured 1000 requests", r" hits, 0 misses: 100\.000 %", r"^  get  ",
                    r"^  set  ", r"^  all  ", r"^server   CPU \d+\.\d+ us per request", r"resident \d", r"^loader   CPU"):
        matches(out, pattern, "report")


yakumo.run(node_text, node_meta, memcached, redis, bare_responder, unix_socket, open_loop, stall_is_charged, seeds,
           error_replies, wrong_answers, server_fails, bad_options, interrupted, words)
