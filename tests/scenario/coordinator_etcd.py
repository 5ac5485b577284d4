#!/usr/bin/env python3
"""A cluster whose registers are in a real etcd, which dies, comes back, asks who is there, and loses what it had.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/coordinator_etcd.py [CASE ...]
faults.py, failover.py and history.py run with etcd when YK_COORDINATOR=etcd.
"""
import http.server
import os
import random
import re
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from etcd import Etcd
from recorder import under_traffic
from servers import HEAL_S, NAMES, Servers
from yakumo import SLOW, equal, eventually, free_port, matches, refused, rounds, run

KEY = "/yakumo/bucket.default"


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def cluster(etcd, *lines, endpoints=None, **more):
    return Servers(coordinator="etcd", section=etcd.section(*lines, endpoints=endpoints), **more)


def kill_and_start(servers, *names, wait_s=2.0):
    servers.kill(*names)
    time.sleep(wait_s * SLOW)
    servers.start(*names)


def all_have_primaries(servers):
    found = servers.status()
    return found is not None and found[0]["without_primary"] == 0


def a_leader_and_a_server_are_killed():
    """Histories of real clients stay linearizable, and all is well in the end."""
    with Etcd(3) as etcd, cluster(etcd) as servers:
        def fault(i):
            leader = etcd.leader()
            etcd.kill(leader)
            kill_and_start(servers, NAMES[i % 3])
            etcd.start(leader)
            eventually(lambda: etcd.leader() is not None, 30 * SLOW, "a leader of etcd")
        under_traffic(servers, fault, rounds(2, 40))


def a_server_is_killed_with_one_etcd():
    """Managers are two of the nodes: any number will do."""
    with Etcd(1) as etcd, cluster(etcd, managers="ab") as servers:
        under_traffic(servers, lambda i: kill_and_start(servers, NAMES[i % 3]), rounds(2, 40))


def all_are_killed():
    """etcd among them."""
    with Etcd(1) as etcd, cluster(etcd) as servers:
        def fault(_):
            etcd.kill(0)
            servers.kill(*NAMES)
            etcd.start(0)
            servers.start(*NAMES)
        under_traffic(servers, fault, rounds(2, 100))


def data_is_served_without_etcd():
    with Etcd(1) as etcd, cluster(etcd) as servers:
        etcd.kill(0)
        time.sleep(3 * SLOW)  # longer than any lease
        for name in NAMES:
            with servers.client(name) as client:
                for i in range(200):
                    equal(client.set(b"k%d" % i, name.encode()), b"STORED")
                    equal(client.get(b"k%d" % i), name.encode())
        servers.kill("c")
        time.sleep(1 * SLOW)
        etcd.start(0)
        eventually(lambda: all_have_primaries(servers), HEAL_S, "a primary for each slot")
        with servers.client("a") as client:
            equal(client.get(b"k7"), b"c")
        servers.start("c")
        servers.wait_whole()


def a_key_is_deleted():
    """The register has gone back: nobody believes it, also after a restart; and when it is there again all go on."""
    with Etcd(1) as etcd, cluster(etcd) as servers:
        with servers.client("a") as client:
            equal(client.set(b"k", b"v"), b"STORED")
        time.sleep(2 * SLOW)  # until the revisions are stored
        _, value = etcd.get(KEY)
        etcd.delete(KEY)
        words = r"error etcd: the register bucket.default went back from revision \d+ to 0 " \
                r"\(key /yakumo/bucket.default\): was etcd put back from a copy, or the key deleted\?"
        servers.nodes["a"].wait_log(words)
        servers.kill(*NAMES)
        servers.start(*NAMES)
        servers.nodes["b"].wait_log(words)
        time.sleep(2 * SLOW)
        equal(etcd.get(KEY), None)
        etcd.put(KEY, value)
        servers.wait_whole()
        with servers.client("c") as client:
            equal(client.get(b"k"), b"v")


def with_certificates_and_a_user():
    with Etcd(1, tls=True) as etcd:
        etcd.add_user("eve", "secret", "/clouds/")
        password = os.path.join(etcd.folder, "password")
        write(password, "wrong\n")
        lines = ["prefix = /clouds/", "user = eve", f"password_file = {password}"]
        try:
            servers = cluster(etcd, *lines, form=False)
            servers.start(*NAMES)
            servers.nodes["a"].wait_log("warning etcd: etcd at https://127.0.0.1:.*authentication failed")
            write(password, "secret\n")
            servers.kill(*NAMES)
            servers.form()
            servers.kill("b")
            eventually(lambda: all_have_primaries(servers), HEAL_S, "a primary for each slot")
            # A token that etcd does not know any more.
            etcd.kill(0)
            etcd.start(0)
            servers.start("b")
            servers.wait_whole()
            etcd.log_in()
            equal(etcd.get("/yakumo/cluster"), None)
            assert etcd.get("/clouds/cluster") is not None
        finally:
            servers.__exit__()


def it_is_not_let_in():
    """By a certificate that nobody knows, or without a user where one is needed."""
    with Etcd(1, tls=True) as etcd, Etcd(1) as other:
        lines = other.section().replace(other.endpoints[0], etcd.endpoints[0])
        servers = Servers(coordinator="etcd", section=lines, form=False)
        try:
            servers.start("a")
            servers.nodes["a"].wait_log("warning etcd: etcd at https://127.0.0.1:.*certificate")
        finally:
            servers.__exit__()
        other.add_user("eve", "secret", "/yakumo/")
        servers = cluster(other, form=False)
        try:
            servers.start("a")
            servers.nodes["a"].wait_log("warning etcd: etcd at http://127.0.0.1:.*user name is empty")
        finally:
            servers.__exit__()


def history_is_compacted():
    with Etcd(1) as etcd, cluster(etcd, "compact = 1s") as servers:
        first, _ = etcd.get(KEY)
        servers.kill("c")
        eventually(lambda: etcd.get(KEY)[0] > first, HEAL_S, "a change of the register")
        def is_gone():
            answer = etcd.ask("/v3/kv/range", {"key": "YQ==", "revision": str(first)})
            return "compacted" in answer.get("message", "")
        eventually(is_gone, 30 * SLOW, "compaction")
        servers.start("c")
        servers.wait_whole()


class Liar(http.server.BaseHTTPRequestHandler):
    """Answers anything but what etcd would."""
    protocol_version = "HTTP/1.1"
    random = random.Random(1)
    ANSWERS = (b"", b"{}", b"[]", b"null", b"{\"header\":{}}", b"{\"header\":{\"revision\":\"x\"}}",
               b"{\"header\":{\"revision\":\"99\"},\"kvs\":[{\"mod_revision\":\"0\"}]}",
               b"{\"header\":{\"revision\":\"99\"},\"kvs\":[{\"mod_revision\":\"7\",\"value\":\"?\"}]}",
               b"{\"header\":{\"revision\":\"99\"},\"kvs\":[1]}", b"{\"error\":1,\"code\":\"x\"}", b"\xff" * 1000,
               b"{\"result\":{\"events\":[{\"kv\":{\"key\":\"L3lha3Vtby8=\"}}]}}\n", b"x" * 5000000)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = self.random.choice(self.ANSWERS)
        self.send_response(self.random.choice((200, 200, 200, 404, 500)))
        self.send_header("Content-Length", str(len(body) + self.random.choice((0, 0, 0, 10))))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.random.random() < 0.5

    def log_message(self, *_):
        pass


def an_endpoint_lies():
    """The others are asked, and nothing worse happens."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with Etcd(1) as etcd:
            liar = f"http://127.0.0.1:{server.server_port}"
            dead = f"http://127.0.0.1:{free_port()}"
            with cluster(etcd, "timeout = 200ms", endpoints=[liar, dead, *etcd.endpoints]) as servers:
                for i in range(rounds(2, 20)):
                    kill_and_start(servers, NAMES[i % 3], wait_s=0)
                    servers.wait_whole()
    finally:
        server.shutdown()
        server.server_close()


NODES = "[bucket default]\ndurability = memory\n" \
        "[node a]\nroles = manager, server\naddress = 127.0.0.1:1\n[node b]\naddress = 127.0.0.1:2\n"


def options_are_checked():
    path = yakumo.temporary("etcd.conf")
    for line, words in (
            ("endpoints = 127.0.0.1:2379", "'127.0.0.1:2379' is no address of etcd: write http://HOST:PORT or"),
            ("endpoints = http://", "is no address of etcd"),
            ("endpoints = https://a:1/v3", "'https://a:1/v3' is no address of etcd"),
            ("endpoints = https://u:p@a:1", "is no address of etcd"),
            ("ca_file = /x", "an endpoint begins with http://: write https:// for all of them, or remove the files"),
            ("endpoints = https://a:1\ncert_file = /x", "cert_file and key_file go together: give both, or none"),
            ("user = x", "user and password_file go together: give both, or none"),
            ("timeout = 1ms", "timeout: '1ms' is out of range: write 50ms to 1m"),
            ("endpoint = x", "unknown option 'endpoint' of etcd; did you mean 'endpoints'?")):
        write(path, f"[cluster]\ncoordinator = etcd\n[coordinator etcd]\n{line}\n{NODES}")
        matches(refused("-c", path, "--node", "a", "--check-config"), re.escape(words))


run(a_leader_and_a_server_are_killed, a_server_is_killed_with_one_etcd, all_are_killed, data_is_served_without_etcd,
    a_key_is_deleted, with_certificates_and_a_user, it_is_not_let_in, history_is_compacted, an_endpoint_lies,
    options_are_checked)
