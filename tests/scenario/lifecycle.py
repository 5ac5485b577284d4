#!/usr/bin/env python3
"""Signals, reloading, shutdown by a client, restarts, and what systemd is told.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/lifecycle.py [CASE ...]
"""
import os
import re
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from yakumo import Client, Node, equal, eventually, matches

SLOW_MS = 300 * yakumo.SLOW
CONFIG = """
[bucket default]
durability = memory
[frontend memcached]
listen = 127.0.0.1:0
[node a]
workers = 2
log_level = notice
"""
SLOW_CONFIG = CONFIG.replace("memory\n", f"memory\nfilters = delay\n[filter delay]\nget = {SLOW_MS}ms\n"
                             f"apply = {SLOW_MS}ms\n", 1)


def is_closed_to_new(node):
    try:
        with node.client() as client:
            client.send(b"version\r\n")
            return client.socket.recv(100) == b""
    except OSError:
        return True


def term_ends_an_idle_node():
    for n_workers in (1, 2):
        node = Node(options=[f"node.workers={n_workers}"])
        client = node.client()
        client.is_served()
        start = time.monotonic()
        node.stop(signal.SIGTERM)
        assert time.monotonic() - start < 2 * yakumo.SLOW, "an idle connection held it up"
        equal(client.rest(), b"", "what came at the end")
        matches(node.log(), "stopping signal=TERM")


def int_ends_it():
    node = Node()
    node.client().is_served()
    node.stop(signal.SIGINT)
    matches(node.log(), "stopping signal=INT")


def term_drains():
    """A request that is under way when TERM comes is answered, and its connection then closed."""
    node = Node(SLOW_CONFIG)
    writer, reader = node.client(), node.client()
    writer.send(b"set k 0 0 5\r\nvalue\r\n")
    equal(writer.line(), b"STORED")
    writer.send(b"set k2 0 0 6\r\nvalue2\r\nget k2\r\n")
    reader.send(b"get k\r\n")
    time.sleep(SLOW_MS / 3000)
    node.send_signal(signal.SIGTERM)
    node.wait_log("stopping")
    equal(reader.rest(), b"VALUE k 0 5\r\nvalue\r\nEND\r\n", "answer of the reader")
    equal(writer.rest(), b"STORED\r\nVALUE k2 0 6\r\nvalue2\r\nEND\r\n", "answers of the writer")
    assert is_closed_to_new(node), "it takes new connections"
    node.stop(None)


def term_drains_what_a_client_has_not_read_yet():
    node = Node()
    value = b"v" * (1 << 20)
    with Client(node.address(), receive_buffer=64 * 1024) as client:
        equal(client.set(b"k", value), b"STORED")
        client.send(b"get k\r\n" * 5)
        client.bytes(10)
        node.send_signal(signal.SIGTERM)
        node.wait_log("stopping")
        time.sleep(0.1)
        equal(len(client.rest()) + 10, 5 * len(b"VALUE k 0 1048576\r\n" + value + b"\r\nEND\r\n"), "bytes")
    node.stop(None)


def a_second_term_ends_at_once():
    """The first waits for a client that does not read; the second does not."""
    node = Node()
    with Client(node.address(), receive_buffer=64 * 1024) as client:
        equal(client.set(b"k", b"v" * (1 << 20)), b"STORED")
        client.send(b"get k\r\n" * 50)
        client.bytes(10)
        node.send_signal(signal.SIGTERM)
        node.wait_log("stopping")
        time.sleep(0.3)
        equal(node.child.poll(), None, "exit status after the first signal")
        node.send_signal(signal.SIGTERM)
        start = time.monotonic()
        status = node.wait()
        assert time.monotonic() - start < 2 * yakumo.SLOW, "it took long"
        assert status in (0, 1, -signal.SIGTERM), f"exit status {status}"
    node.kill()
    Node(data=node.data).client().is_served()


def kill_9_leaves_a_folder_that_opens():
    node = Node()
    epochs = []
    for _ in range(3):
        node.client().is_served()
        epochs.append(int(node.wait_log(r"ready .* epoch=(\d+)")[1]))
        node.kill()
        node.start()
    equal(epochs, [1, 2, 3], "epochs")


def epochs_rise_over_restarts():
    """So no version ever comes twice: the CAS unique of a key grows although the memory was lost."""
    node = Node()
    seen = []
    for _ in range(3):
        with node.client() as client:
            equal(client.get(b"k"), None, "a value from before the restart")
            for _ in range(3):
                equal(client.set(b"k", b"v"), b"STORED")
                seen.append(client.gets(b"k")[1])
        node.stop()
        node.start()
    equal(seen, sorted(set(seen)), "CAS uniques")
    identity = re.findall(r"^id=(\S+)$", yakumo.read_file(os.path.join(node.data, "node")), re.M)
    equal([node.wait_log(r"ready .* node=(\S+)")[1]], identity, "the node's identity")


def a_clean_end_is_noted():
    node = Node()
    state = os.path.join(node.data, "node")
    matches(yakumo.read_file(state), "^clean=false$")
    node.stop()
    matches(yakumo.read_file(state), "^clean=true$")


def rewrite(node, old, new):
    text = yakumo.read_file(node.config_file)
    assert old in text, f"no {old!r} in the config"
    with open(node.config_file, "w", encoding="utf-8") as file:
        file.write(text.replace(old, new))


def hup_takes_over_what_may_change():
    node = Node(CONFIG)
    with node.client() as client:
        client.is_served()
        rewrite(node, "log_level = notice", "log_level = error")
        node.send_signal(signal.SIGHUP)
        # The level counts from then on, so the line that says so may be the last of its kind.
        time.sleep(0.3 * yakumo.SLOW)
        node.send_signal(signal.SIGUSR1)
        time.sleep(0.3 * yakumo.SLOW)
        assert "state worker=" not in node.log(), "log_level = error still logs notices"
        rewrite(node, "log_level = error", "log_level = debug")
        node.send_signal(signal.SIGHUP)
        node.wait_log("config reloaded")
        node.send_signal(signal.SIGUSR1)
        node.wait_log("state worker=1")
        client.is_served()
        equal(client.stats()["total_connections"], "1", "total_connections")


def hup_takes_over_a_plugins_option():
    node = Node(CONFIG.replace("[node a]", "allow_flush = yes\n[node a]"))
    with node.client() as client:
        equal(client.ask(b"flush_all"), b"OK")
        rewrite(node, "allow_flush = yes", "allow_flush = no")
        node.send_signal(signal.SIGHUP)
        node.wait_log("config (not )?reloaded")
        if "not reloaded" in node.log():
            yakumo.skip("allow_flush does not change at run time")
        equal(client.ask(b"flush_all"), b"CLIENT_ERROR flush_all not allowed")


def hup_refuses_what_may_not_change():
    node = Node(CONFIG)
    with node.client() as client:
        client.is_served()
        rewrite(node, "workers = 2", "workers = 1")
        node.send_signal(signal.SIGHUP)
        line = node.wait_log(r"config not reloaded, the old one stays: .*")[0]
        matches(line, re.escape(node.config_file) + r":\d+: .*workers cannot change")
        rewrite(node, "workers = 1", "worker = 1")
        node.send_signal(signal.SIGHUP)
        line = node.wait_log(r"config not reloaded, the old one stays: .*", n=2)[0]
        matches(line, "workers")
        rewrite(node, "worker = 1", "workers = 2")
        node.send_signal(signal.SIGHUP)
        node.wait_log("config reloaded")
        os.unlink(node.config_file)
        node.send_signal(signal.SIGHUP)
        node.wait_log(r"config not reloaded, the old one stays: .*", n=3)
        client.is_served()
        equal(client.stats()["threads"], "2", "threads")


def hup_without_a_file():
    node = Node()
    node.send_signal(signal.SIGHUP)
    node.wait_log("config reloaded")
    node.client().is_served()


def hups_under_load():
    node = Node(CONFIG)
    with node.client() as client:
        for i in range(30 // yakumo.SLOW + 1):
            rewrite(node, "log_level = ", "log_level = ")
            node.send_signal(signal.SIGHUP)
            client.is_served()
            node.send_signal(signal.SIGUSR1)
            client.is_served()


def usr1_writes_the_state():
    node = Node(options=["node.workers=2"])
    clients = [node.client() for _ in range(3)]
    for client in clients:
        client.is_served()
    node.send_signal(signal.SIGUSR1)
    node.wait_log("state worker=0 connections=")
    node.wait_log("state worker=1 connections=")
    eventually(lambda: sum(map(int, re.findall(r"state worker=\d connections=(\d+)", node.log()))) == 3,
               what="a state of three connections")


def shutdown_is_refused_unless_allowed():
    node = Node()
    with node.client() as client:
        equal(client.ask(b"shutdown"), b"ERROR: shutdown not enabled")
        client.is_served()


def shutdown_ends_the_node():
    for command in (b"shutdown\r\n", b"shutdown graceful\r\n"):
        node = Node(options=["frontend.memcached.allow_shutdown=yes"])
        with node.client() as client, node.client() as other:
            other.is_served()
            equal(client.ask(b"shutdown soon"), b"CLIENT_ERROR invalid shutdown mode")
            client.send(b"set k 0 0 1\r\n1\r\n" + command)
            equal(client.rest(), b"STORED\r\n", "what came before the end")
        node.stop(None)


def quit_closes_after_the_answers():
    node = Node()
    with node.client() as client:
        client.send(b"set k 0 0 1\r\n1\r\nget k\r\nquit\r\nget k\r\n")
        equal(client.rest(), b"STORED\r\nVALUE k 0 1\r\n1\r\nEND\r\n", "what came before the close")
    node.client().is_served()


def systemd_is_told():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        path = yakumo.temporary("notify")
        notified.bind(path)
        notified.settimeout(yakumo.TIMEOUT_S)

        def told():
            return notified.recv(4096).decode().splitlines()

        node = Node(extra={"NOTIFY_SOCKET": path})
        assert "READY=1" in told(), "READY=1 was not first"
        node.client().is_served()
        node.send_signal(signal.SIGHUP)
        assert "RELOADING=1" in told(), "RELOADING=1 did not come"
        assert "READY=1" in told(), "READY=1 did not come again"
        node.send_signal(signal.SIGTERM)
        assert "STOPPING=1" in told(), "STOPPING=1 did not come"
        node.stop(None)


def systemd_is_told_nothing_by_a_start_that_fails():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        path = yakumo.temporary("notify")
        notified.bind(path)
        notified.setblocking(False)
        node = Node(extra={"NOTIFY_SOCKET": path}, options=["bucket.default.memory_max=1K"], start=False)
        node.spawn()
        node.stop(None, expect=1)
        try:
            raise AssertionError(f"it said {notified.recv(100)!r}")
        except BlockingIOError:
            pass


def log_lines_for_the_journal():
    """With JOURNAL_STREAM each line has its level in front and no time."""
    node = Node(extra={"JOURNAL_STREAM": "1:1"})
    for line in node.log().splitlines():
        matches(line, r"\A<[3-7]>\w+: ", "log line")


yakumo.run(term_ends_an_idle_node, int_ends_it, term_drains, term_drains_what_a_client_has_not_read_yet,
           a_second_term_ends_at_once, kill_9_leaves_a_folder_that_opens, epochs_rise_over_restarts,
           a_clean_end_is_noted, hup_takes_over_what_may_change, hup_takes_over_a_plugins_option,
           hup_refuses_what_may_not_change, hup_without_a_file, hups_under_load, usr1_writes_the_state,
           shutdown_is_refused_unless_allowed, shutdown_ends_the_node, quit_closes_after_the_answers,
           systemd_is_told, systemd_is_told_nothing_by_a_start_that_fails, log_lines_for_the_journal)
