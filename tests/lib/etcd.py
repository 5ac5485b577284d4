"""A real etcd of one or three members, for a cluster whose coordinator it is."""
import base64
import json
import os
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request

import yakumo
from yakumo import SLOW, eventually, free_port, temporary

START_S = 30 * SLOW


def b64(text):
    return base64.b64encode(text.encode()).decode()


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Certificates:
    """One that signs, and one signed by it for 127.0.0.1, which servers and clients show; without a common name,
    since the gateway takes none where there are users."""

    def __init__(self, folder):
        def path(name):
            return os.path.join(folder, name)
        self.ca, self.cert, self.key = path("ca.pem"), path("cert.pem"), path("key.pem")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=ca", "-keyout",
                path("ca.key"), "-out", self.ca)
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/O=etcd", "-keyout", self.key, "-out",
                path("request.pem"))
        with open(path("extra"), "w", encoding="utf-8") as file:
            file.write("subjectAltName=IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", path("request.pem"), "-CA", self.ca, "-CAkey", path("ca.key"), "-CAcreateserial",
                "-days", "2", "-extfile", path("extra"), "-out", self.cert)


class Etcd:
    """tls: clients are asked for a certificate."""

    def __init__(self, members=1, tls=False):
        if shutil.which("etcd") is None:
            yakumo.skip("etcd is not installed")
        self.folder = temporary("etcd")
        os.mkdir(self.folder)
        self.certificates = Certificates(self.folder) if tls else None
        scheme = "https" if tls else "http"
        self.peers = [f"http://127.0.0.1:{free_port()}" for _ in range(members)]
        self.endpoints = [f"{scheme}://127.0.0.1:{free_port()}" for _ in range(members)]
        self.children = [None] * members
        self.token = None
        for i in range(members):
            self.start(i)
        eventually(lambda: self.leader() is not None, START_S, "a leader of etcd")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for i in range(len(self.children)):
            self.kill(i)

    def start(self, i):
        arguments = ["etcd", "--name", f"m{i}", "--data-dir", os.path.join(self.folder, f"m{i}"), "--log-level", "error",
                     "--listen-peer-urls", self.peers[i], "--initial-advertise-peer-urls", self.peers[i],
                     "--listen-client-urls", self.endpoints[i], "--advertise-client-urls", self.endpoints[i],
                     "--initial-cluster", ",".join(f"m{k}={peer}" for k, peer in enumerate(self.peers)),
                     "--initial-cluster-token", self.folder]
        if self.certificates:
            arguments += ["--cert-file", self.certificates.cert, "--key-file", self.certificates.key,
                          "--trusted-ca-file", self.certificates.ca, "--client-cert-auth"]
        with open(os.path.join(self.folder, f"log.{i}"), "ab") as log:
            self.children[i] = yakumo.spawn(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self, i):
        child, self.children[i] = self.children[i], None
        if child is not None:
            child.kill()
            child.wait()

    def ask(self, path, body, i=None):
        """The answer of member i, or of the first that answers; None: nobody did."""
        context = None
        if self.certificates:
            context = ssl.create_default_context(cafile=self.certificates.ca)
            context.load_cert_chain(self.certificates.cert, self.certificates.key)
        for k in range(len(self.endpoints)) if i is None else [i]:
            request = urllib.request.Request(self.endpoints[k] + path, json.dumps(body).encode())
            if self.token:
                request.add_header("Authorization", self.token)
            try:
                with urllib.request.urlopen(request, timeout=5 * SLOW, context=context) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                return json.load(error)
            except OSError:
                continue
        return None

    def leader(self):
        """Its index, or None."""
        for i, child in enumerate(self.children):
            status = self.ask("/v3/maintenance/status", {}, i) if child is not None else None
            if status and status.get("leader", "0") != "0" and status["leader"] == status["header"]["member_id"]:
                return i
        return None

    def get(self, key):
        """(mod_revision, base64 of the value), or None."""
        found = self.ask("/v3/kv/range", {"key": b64(key)}).get("kvs")
        return (int(found[0]["mod_revision"]), found[0]["value"]) if found else None

    def put(self, key, value):
        return self.ask("/v3/kv/put", {"key": b64(key), "value": value})

    def delete(self, key):
        return self.ask("/v3/kv/deleterange", {"key": b64(key)})

    def add_user(self, name, password, prefix):
        """Turns authentication on; the user may do what he likes below prefix."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        for path, body in (("role/add", {"name": "root"}), ("user/add", {"name": "root", "password": "root"}),
                           ("user/grant", {"user": "root", "role": "root"}),
                           ("role/add", {"name": "yakumo"}),
                           ("role/grant", {"name": "yakumo", "perm": {"permType": "READWRITE", "key": b64(prefix),
                                                                      "range_end": b64(end)}}),
                           ("user/add", {"name": name, "password": password}),
                           ("user/grant", {"user": name, "role": "yakumo"}), ("enable", {})):
            answer = self.ask(f"/v3/auth/{path}", body)
            assert "error" not in answer, (path, answer)
        self.log_in()

    def log_in(self):
        """etcd forgets tokens when it starts."""
        self.token = None
        self.token = self.ask("/v3/auth/authenticate", {"name": "root", "password": "root"})["token"]

    def section(self, *lines, endpoints=None):
        """[coordinator etcd] of a config."""
        lines = [f"endpoints = {', '.join(endpoints or self.endpoints)}", *lines]
        if self.certificates:
            lines += [f"ca_file = {self.certificates.ca}", f"cert_file = {self.certificates.cert}",
                      f"key_file = {self.certificates.key}"]
        return "\n".join(["[coordinator etcd]", *lines, ""])
