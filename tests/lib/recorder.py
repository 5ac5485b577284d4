"""Clients that write down what they asked and what they were told, for `yakumo check-history`.

A RecordingClient has a connection to one node after another: when one breaks, what was under way has no end, and the
next operation goes to the next node. A Traffic is a process of several such clients on few keys, that goes on until it
is told to stop; this file is its program too.
"""
import argparse
import base64
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import yakumo

NOT_A_NUMBER = b"CLIENT_ERROR cannot increment or decrement non-numeric value"
RESULTS = {b"STORED": "ok", b"DELETED": "ok", b"TOUCHED": "ok", b"OK": "ok", b"NOT_FOUND": "miss",
           b"NOT_STORED": "refused", b"EXISTS": "exists", NOT_A_NUMBER: "not_number"}
CLIENT_TIMEOUT_S = 3.0  # after which nobody waits for an answer any more
BAG_SIZE_MAX = 2000
ROUNDS_MAX = 20
REST_S = 0.002  # of a client between two operations: what is checked is the order, not the speed


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


def check_files(*paths, options=(), timeout_s=300):
    """Is what was recorded there linearizable? Returns what the tool says."""
    done = subprocess.run([os.path.join(yakumo.BUILDDIR, "yakumo"), "check-history", *options, *paths],
                          env=yakumo.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout_s * yakumo.SLOW, check=False)
    if done.returncode != 0:
        raise AssertionError(f"check-history: status {done.returncode}: {done.stdout[-6000:]}{done.stderr}")
    return done.stdout


class Recorder:
    """Writes operations of many threads into one file, a line each."""

    def __init__(self, path=None):
        self.path = path or yakumo.temporary("history")
        self.file = open(self.path, "w", encoding="utf-8")
        self.lock = threading.Lock()
        self.n_clients = itertools.count()

    def write(self, **fields):
        line = json.dumps(fields) + "\n"
        with self.lock:
            self.file.write(line)

    def close(self):
        self.file.close()

    def check(self, *options):
        """All clients have ended: is what they saw linearizable? Returns what the tool says."""
        self.close()
        return check_files(self.path, options=options)


class RecordingClient:
    """One operation at a time, on nodes of which some may be dead. Each method returns the result's name, or None
    where no answer came; get: the value too."""

    def __init__(self, recorder, addresses, timeout_s=None, at=0):
        self.recorder = recorder
        self.addresses = list(addresses)
        self.at = at % len(self.addresses)
        self.timeout_s = timeout_s
        self.number = next(recorder.n_clients)
        self.connection = None

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def next_node(self):
        self.close()
        self.at = (self.at + 1) % len(self.addresses)

    def _connect(self):
        """A connection, or None: nobody listens there; the next one is tried next."""
        if self.connection is None:
            try:
                self.connection = yakumo.Client(self.addresses[self.at], timeout_s=self.timeout_s)
            except OSError:
                self.next_node()
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
        start = time.monotonic_ns()
        try:
            connection.send(command + b"\r\n")
            answer = read(connection)
        # The connection broke, or no answer came in time; the library says the first by an AssertionError.
        except (OSError, AssertionError):
            self.next_node()
            self.recorder.write(**fields, start=start)
            return {}
        self.recorder.write(**fields, **answer, start=start, end=time.monotonic_ns())
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

    def store(self, op, key, value, flags=0, cas=None, expiry=0):
        """op: set, add, replace, append, prepend or cas."""
        command = b"%s %s %d %d %d%s\r\n%s" % (op.encode(), key, flags, expiry, len(value),
                                               b"" if cas is None else b" %d" % cas, value)
        fields = {"value64": base64.b64encode(value).decode()}
        if op not in ("append", "prepend"):
            fields |= {"flags": flags, "expiry": expiry}
        if cas is not None:
            fields["cas"] = cas
        return self._ask(op, key, command, self._read_line, **fields).get("result")

    def set(self, key, value):
        return self.store("set", key, value)

    def delete(self, key):
        return self._ask("delete", key, b"delete " + key, self._read_line).get("result")

    def touch(self, key, expiry):
        return self._ask("touch", key, b"touch %s %d" % (key, expiry), self._read_line, expiry=expiry).get("result")

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


# What a client does to keys of each kind. No two values are the same, so that each read says whose write it saw.

def use_plain(client, chance, key, new_value):
    what = chance.random()
    if what < 0.45:
        client.get(key, with_cas=chance.random() < 0.5)
    elif what < 0.75:
        client.set(key, new_value())
    elif what < 0.85:
        _, _, cas = client.get(key, with_cas=True)
        if cas is not None:
            client.store("cas", key, new_value(), cas=cas)
    elif what < 0.92:
        client.delete(key)
    else:
        client.store(chance.choice(("add", "replace")), key, new_value())


def use_register(client, chance, key, new_value):
    """Only sets and gets."""
    if chance.random() < 0.5:
        client.get(key)
    else:
        client.set(key, new_value())


def use_counter(client, chance, key, _):
    if chance.random() < 0.3:
        client.get(key)
    elif client.count("incr", key, chance.randrange(1, 1000000))[0] == "miss":
        client.store("add", key, b"0")


def use_bag(client, chance, key, new_value):
    what = chance.random()
    if what < 0.3:
        _, value, _ = client.get(key)
        if value is not None and len(value) > BAG_SIZE_MAX:
            client.set(key, new_value())
    elif client.store("append" if what < 0.8 else "prepend", key, new_value()) == "refused":
        client.store("add", key, new_value())


KINDS = {b"plain": use_plain, b"register": use_register, b"counter": use_counter, b"bag": use_bag}


def keys_of(number):
    """Those of the history of that number."""
    return [b"%s-%d-%d" % (kind, number, i) for kind in KINDS for i in range(2)]


def _work(recorder, options, number, is_over):
    """One client until the end. It changes the node now and then, so that each client sees what all nodes say."""
    chance = random.Random(f"{options.seed}.{number}")
    client = RecordingClient(recorder, [yakumo.parse_address(text) for text in options.addresses],
                             CLIENT_TIMEOUT_S * yakumo.SLOW, number)
    counter = itertools.count()
    keys = keys_of(options.number)

    def new_value():
        return b"%s%d.%d." % (options.name.encode(), number, next(counter))

    while not is_over.is_set():
        key = chance.choice(keys)
        KINDS[key.partition(b"-")[0]](client, chance, key, new_value)
        if options.flush and chance.random() < 0.002:
            client.flush()
        if chance.random() < 0.02:
            client.next_node()
        time.sleep(REST_S)
    client.close()


class Traffic:
    """Processes of clients, each with a file of its own."""

    def __init__(self, addresses, number, n_processes=3, n_threads=3, flush=False):
        self.paths = []
        self.children = []
        for i in range(n_processes):
            path = yakumo.temporary(f"history-{i}")
            command = [sys.executable, os.path.abspath(__file__), "--file", path, "--name", "pqrstuvw"[i],
                       "--number", str(number), "--seed", str(random.randrange(1 << 32)), "--threads", str(n_threads),
                       *(["--flush"] if flush else []), *(f"{host}:{port}" for host, port in addresses)]
            self.children.append(yakumo.spawn(command, stdin=subprocess.DEVNULL))
            self.paths.append(path)

    def stop(self):
        """Ends it; what the clients saw is whole."""
        for child in self.children:
            child.send_signal(signal.SIGTERM)
        for child in self.children:
            yakumo.equal(child.wait(30 * yakumo.SLOW), 0, "exit status of the traffic")

    def check(self, *more):
        return check_files(*self.paths, *more)


def _record(servers, number, fault, fault_rounds, flush):
    """One history: calls fault(round) for each round, and waits each time until all is well again. In the end every
    key is read through every node."""
    traffic = Traffic(servers.addresses(), number, flush=flush)
    try:
        for i in fault_rounds:
            time.sleep(0.5)
            fault(i)
            servers.wait_whole()
        time.sleep(0.5)
    finally:
        traffic.stop()
    last = Recorder()
    for address in servers.addresses():
        client = RecordingClient(last, [address])
        for key in keys_of(number):
            yakumo.equal(client.get(key)[0] in ("ok", "miss"), True, f"get of {key} at {address} in the end")
        client.close()
    last.close()
    print("# " + traffic.check(last.path).strip(), flush=True)
    for path in [*traffic.paths, last.path]:
        os.remove(path)


def under_traffic(servers, fault, n_rounds, flush=False):
    """Histories of at most ROUNDS_MAX faults, each with keys of its own: what nobody knows the outcome of would make a
    longer one hard to check. Those that are wrong stay where they are, for YK_KEEP."""
    for first in range(0, n_rounds, ROUNDS_MAX):
        _record(servers, first, fault, range(first, min(first + ROUNDS_MAX, n_rounds)), flush)


def _main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--file")
    parser.add_argument("--name")
    parser.add_argument("--number", type=int)
    parser.add_argument("--seed")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--flush", action="store_true")
    parser.add_argument("addresses", nargs="+")
    options = parser.parse_args()
    recorder = Recorder(options.file)
    is_over = threading.Event()
    failures = []

    def work(number):
        try:
            _work(recorder, options, number, is_over)
        except Exception as error:
            failures.append(error)

    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    threads = [threading.Thread(target=work, args=(number,)) for number in range(options.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close()
    if failures:
        raise failures[0]


if __name__ == "__main__":
    _main()
