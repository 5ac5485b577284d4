"""Clients that write down what they asked and what they were told, for `yakumo check-history`.

A Recorder owns the file, and each Recording client a connection to one node after another: when a connection
breaks, what was under way has no end, and the next operation goes to the next node.
"""
import base64
import itertools
import json
import os
import subprocess
import threading
import time

import yakumo

NOT_A_NUMBER = b"CLIENT_ERROR cannot increment or decrement non-numeric value"
RESULTS = {b"STORED": "ok", b"DELETED": "ok", b"TOUCHED": "ok", b"OK": "ok", b"NOT_FOUND": "miss",
           b"NOT_STORED": "not_stored", b"EXISTS": "exists", NOT_A_NUMBER: "not_number"}


class WrongAnswer(Exception):
    """Neither a result nor an error that is foreseen."""


def result_of(line):
    """PROTOCOL.md: a SERVER_ERROR that does not say "outcome unknown" was surely not done. ERROR and CLIENT_ERROR
    are answers that the clients here never deserve."""
    if line in RESULTS:
        return RESULTS[line]
    if line == b"SERVER_ERROR outcome unknown":
        return "unknown"
    if line.startswith(b"SERVER_ERROR "):
        return "failed"
    raise WrongAnswer(f"the node answered {line!r}")


class Recorder:
    """Writes operations of many threads into one file, a line each."""

    def __init__(self):
        self.path = yakumo.temporary("history")
        self.file = open(self.path, "w", encoding="utf-8")
        self.lock = threading.Lock()
        self.n_clients = itertools.count()
        self.counts = {}

    def write(self, **fields):
        with self.lock:
            json.dump(fields, self.file)
            self.file.write("\n")
            result = fields.get("result", "none")
            self.counts[result] = self.counts.get(result, 0) + 1

    def check(self, *options):
        """All clients have ended: is what they saw linearizable? Returns what the tool says."""
        self.file.close()
        done = subprocess.run([os.path.join(yakumo.BUILDDIR, "yakumo"), "check-history", *options, self.path],
                              env=yakumo.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=300 * yakumo.SLOW, check=False)
        if done.returncode != 0:
            raise AssertionError(f"check-history: status {done.returncode}: {done.stdout[-6000:]}{done.stderr}")
        return done.stdout


class RecordingClient:
    """One operation at a time, on nodes of which some may be dead. Each method returns the result's name, or None
    where no answer came; get: the value too."""

    def __init__(self, recorder, addresses, timeout_s=None):
        self.recorder = recorder
        self.addresses = list(addresses)
        self.at = 0
        self.timeout_s = timeout_s
        self.number = next(recorder.n_clients)
        self.connection = None

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def _connect(self):
        """A connection, or None: nobody listens there; the next one is tried next."""
        if self.connection is None:
            try:
                self.connection = yakumo.Client(self.addresses[self.at], timeout_s=self.timeout_s)
            except OSError:
                self.at = (self.at + 1) % len(self.addresses)
                time.sleep(0.01)
        return self.connection

    def _ask(self, op, key, command, read, **fields):
        """Sends it and reads its answer, a dict of fields, by read(connection)."""
        connection = self._connect()
        if connection is None:
            return {}
        fields.update(op=op, client=self.number)
        if key is not None:
            fields["key"] = key.decode()
        start = time.monotonic_ns() // 1000
        try:
            connection.send(command + b"\r\n")
            answer = read(connection)
        # The connection broke, or no answer came in time; the library says the first by an AssertionError.
        except (OSError, AssertionError):
            self.close()
            self.at = (self.at + 1) % len(self.addresses)
            self.recorder.write(**fields, start=start)
            return {}
        self.recorder.write(**fields, **answer, start=start, end=time.monotonic_ns() // 1000)
        return answer

    def get(self, key, with_cas=False):
        """(result, value, cas)"""

        def read(connection):
            found = connection.values()
            if not isinstance(found, dict):
                return {"result": "failed"}
            if key not in found:
                return {"result": "miss"}
            value, flags, cas = found[key]
            answer = {"result": "ok", "value64": base64.b64encode(value).decode(), "flags": flags}
            return answer | ({"cas": cas} if with_cas else {})

        answer = self._ask("get", key, (b"gets " if with_cas else b"get ") + key, read)
        value = base64.b64decode(answer["value64"]) if "value64" in answer else None
        return answer.get("result"), value, answer.get("cas")

    def store(self, op, key, value, flags=0, cas=None):
        """op: set, add, replace, append, prepend or cas."""
        command = b"%s %s %d 0 %d%s\r\n%s" % (op.encode(), key, flags, len(value), b"" if cas is None else b" %d" % cas, value)
        fields = {"value64": base64.b64encode(value).decode()}
        if op not in ("append", "prepend"):
            fields["flags"] = flags
        if cas is not None:
            fields["cas"] = cas
        return self._ask(op, key, command, self._read_line, **fields).get("result")

    def set(self, key, value):
        return self.store("set", key, value)

    def delete(self, key):
        return self._ask("delete", key, b"delete " + key, self._read_line).get("result")

    def flush(self):
        return self._ask("flush", None, b"flush_all", self._read_line).get("result")

    def count(self, op, key, delta):
        """op: incr or decr. (result, the number answered)"""

        def read(connection):
            line = connection.line()
            return {"result": "ok", "shown": int(line)} if line.isdigit() else {"result": result_of(line)}

        answer = self._ask(op, key, b"%s %s %d" % (op.encode(), key, delta), read, delta=delta)
        return answer.get("result"), answer.get("shown")

    @staticmethod
    def _read_line(connection):
        return {"result": result_of(connection.line())}
