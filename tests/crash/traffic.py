"""Load with a memory: connections that own their keys, send bursts, and hold each answer against the history.

Everything is one thread, so that a connection's history is in order. Traffic.work() goes on until the node has
closed all connections, or until a time; Traffic.read_all() reads every key once.
"""
import random
import re
import select
import socket
import time
import zlib

import yakumo
from history import History, Lie, Op

N_LINKS = 6          # connections for each bucket
KEYS_PER_LINK = 30
BURST_MAX = 24
REFILL_BELOW = 8     # commands on their way
BAG_SIZE_MAX = 60000
VALUE_SIZE_MAX = 100000
FLUSH_ONE_IN = 800   # bursts
NOISE = random.Random(8).randbytes(2 * VALUE_SIZE_MAX)

GETS = Op(b"gets")
DELETE = Op(b"delete")
TOUCH = Op(b"touch", number=100000)
FLUSH = Op(b"flush_all")
MISSES = {b"END"}


def _table(**parts):
    words = [word.encode() for word, n in parts.items() for _ in range(n)]
    assert len(words) == 100
    return words


# What is done to the three kinds of keys, in percent.
COUNTER = _table(incr=55, decr=14, set=9, add=6, delete=5, gets=7, touch=4)
BAG = _table(append=66, prepend=10, add=6, set=5, delete=4, gets=7, touch=2)
PLAIN = _table(set=40, add=9, replace=8, append=6, incr=2, cas=10, delete=10, touch=4, gets=11)
KINDS = (COUNTER, BAG, PLAIN, PLAIN, PLAIN)


def new_value(key, size):
    """No two of a key are alike, and each says whose it is and which one."""
    key.n_written += 1
    head = b"%b:%d:" % (key.name, key.n_written)
    at = (zlib.crc32(key.name) + key.n_written * 131) % VALUE_SIZE_MAX
    return head + NOISE[at:at + size]


def _size(chance):
    """Mostly small, now and then 100 KB."""
    share = chance.random()
    if share < 0.7:
        return int(chance.random() * 80)
    if share < 0.96:
        return int(chance.random() * 1500)
    if share < 0.995:
        return int(chance.random() * 16000)
    return int(chance.random() * (VALUE_SIZE_MAX - 60))


def _line(key, op):
    """The bytes of a command."""
    verb, data, flags, number = op
    if verb == b"gets" or verb == b"delete":
        return b"%b %b\r\n" % (verb, key.name)
    if verb == b"touch" or verb == b"incr" or verb == b"decr":
        return b"%b %b %d\r\n" % (verb, key.name, number)
    if verb == b"cas":
        return b"cas %b %d 0 %d %d\r\n%b\r\n" % (key.name, flags, len(data), number, data)
    return b"%b %b %d 0 %d\r\n%b\r\n" % (verb, key.name, flags, len(data), data)


class Link:
    """A connection and the keys that it owns. The connection may end and be made anew; the keys stay."""

    def __init__(self, bucket, number, chance, n_keys):
        self.bucket = bucket
        self.chance = chance
        self.keys = [bucket.history.key(b"c%d-k%d" % (number, i)) for i in range(n_keys)]
        self.socket = None
        self.sent = []   # (key, op) on their way, the oldest at `at`
        self.at = 0
        self.out = b""
        self.came = b""

    def open(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(yakumo.TIMEOUT_S)
        self.socket.connect(path)
        self.socket.setblocking(False)

    def n_on_way(self):
        return len(self.sent) - self.at

    def close(self):
        """What is on its way stays unanswered."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        for key, op in self.sent[self.at:]:
            if op.verb == b"flush_all":
                for other in self.bucket.history.keys.values():
                    self.bucket.history.unanswered(other, op)
            elif op.verb != b"gets":
                self.bucket.history.unanswered(key, op)
        self.sent, self.at, self.out, self.came = [], 0, b"", b""

    def choose(self, index):
        """The next command for a key."""
        chance, key = self.chance, self.keys[index]
        kind = KINDS[index % len(KINDS)]
        verb = kind[int(chance.random() * 100)]
        if verb == b"gets":
            return key, GETS
        if verb == b"delete":
            return key, DELETE
        if verb == b"touch":
            return key, TOUCH
        if verb == b"incr" or verb == b"decr":
            return key, Op(verb, number=int(chance.random() * 1000))
        if verb == b"append" or verb == b"prepend":
            if len(key.states[0][0] or b"") < BAG_SIZE_MAX:
                key.n_written += 1
                return key, Op(verb, b"<%d>" % key.n_written + NOISE[:int(chance.random() * 40)])
            verb = b"set"
        flags = int(chance.random() * 4) * 1431655765
        if kind is COUNTER:
            return key, Op(verb, b"%d" % int(chance.random() * 1e6), flags)
        value = new_value(key, _size(chance))
        if verb == b"cas":
            return key, Op(verb, value, flags, max(key.top - (chance.random() < 0.2), 0))
        return key, Op(verb, value, flags)

    def push(self, commands):
        self.sent += commands
        self.out += b"".join([b"flush_all\r\n" if op is FLUSH else _line(key, op) for key, op in commands])
        self.send()

    def burst(self):
        chance = self.chance
        n_keys = len(self.keys)
        self.push([self.choose(int(chance.random() * n_keys)) for _ in range(1 + int(chance.random() * BURST_MAX))])

    def send(self):
        try:
            while self.out:
                self.out = self.out[self.socket.send(self.out):]
        except BlockingIOError:
            pass
        except OSError:
            # It has ended; what came before that is still to be read.
            self.out = b""

    def receive(self):
        """False: the connection has ended."""
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if self.bucket.is_deaf:
            return len(data) > 0
        self.came = self.came + data if self.came else data
        self._take_answers()
        return len(data) > 0

    def _take_answers(self):
        came, at, history = self.came, 0, self.bucket.history
        sent, n_taken = self.sent, self.at
        try:
            while n_taken < len(sent):
                end = came.find(b"\r\n", at)
                if end < 0:
                    break
                line = came[at:end]
                key, op = sent[n_taken]
                if op.verb == b"gets":
                    end = self._take_value(key, line, end)
                    if end is None:
                        break
                elif op.verb == b"flush_all":
                    self.bucket.flushed(line)
                else:
                    history.answered(key, op, line)
                n_taken += 1
                at = end + 2
            if n_taken == len(sent) and at < len(came):
                raise Lie(f"bucket {history.name}: an answer to nothing: {came[at:at + 200]!r}")
        finally:
            self.came = came[at:]
            if n_taken > 1000:
                del sent[:n_taken]
                n_taken = 0
            self.at = n_taken

    def _take_value(self, key, line, end):
        """Where the last line of the answer to gets ends; None: it has not all come."""
        if not line.startswith(b"VALUE "):
            self.bucket.read(key, None if line in MISSES else line)
            return end
        words = line.split(b" ")
        start = end + 2
        size = int(words[3])
        if len(self.came) < start + size + 7:
            return None
        if self.came[start + size:start + size + 7] != b"\r\nEND\r\n" or words[1] != key.name:
            raise self.bucket.history.lie(key, f"gets was answered {line!r} and what is no end")
        self.bucket.read(key, (self.came[start:start + size], int(words[2]), int(words[4])))
        return start + size + 5


class Bucket:
    """What one listener shows: its history, its connections, and by which rule its reads are judged."""

    def __init__(self, name, path, seed, is_prefix=True, may_lose=False, n_links=N_LINKS, n_keys=KEYS_PER_LINK):
        self.name = name
        self.path = path
        self.may_lose = may_lose      # what was acknowledged may be gone after a start
        self.may_fail = may_lose      # reads may fail
        self.history = History(name, is_prefix=is_prefix, keeps_ever=may_lose)
        self.chance = random.Random(f"{seed} {name}")
        self.links = [Link(self, i, random.Random(f"{seed} {name} {i}"), n_keys) for i in range(n_links)]
        self.is_flush_due = False
        self.is_old = False           # found_old: what is read now may be older than what was acknowledged
        self.is_deaf = False          # the power is off: no answer comes from now on
        self.n_unreadable = 0

    def read(self, key, found):
        history = self.history
        if isinstance(found, bytes):
            if not self.may_fail:
                raise history.lie(key, f"it cannot be read: {found!r}")
            self.n_unreadable += 1
        elif self.is_old:
            history.found_old(key, *(found or (None, 0, 0)))
        elif found is None:
            history.found_nothing(key)
        else:
            history.found(key, *found)

    def flushed(self, line):
        self.is_flush_due = False
        for key in self.history.keys.values():
            self.history.answered(key, FLUSH, line)

    def refill(self, link):
        """A flush needs a bucket in which nothing is on its way: what it overtook could not be told."""
        if self.is_flush_due:
            if not any(other.n_on_way() for other in self.links):
                link.push([(None, FLUSH)])
        elif link.n_on_way() < REFILL_BELOW:
            link.burst()
            self.is_flush_due = self.chance.random() * FLUSH_ONE_IN < 1

    def check_scan(self):
        """Nothing is on its way: a scan shows the keys that are there, and no other."""
        with yakumo.Client(self.path) as client:
            client.send(b"lru_crawler metadump all\r\n")
            dump = bytearray()
            while not dump.endswith(b"END\r\n"):
                dump += client.bytes(1) if not client.came else client.bytes(len(client.came))
        scanned = set(re.findall(rb"^key=(\S+)", bytes(dump), re.M))
        held = {name for name, key in self.history.keys.items() if key.states[0][0] is not None}
        if scanned != held:
            raise Lie(f"bucket {self.name}: a scan lacks {sorted(held - scanned)[:5]} "
                      f"and shows {sorted(scanned - held)[:5]}, of which gets says otherwise")


class Traffic:
    """All buckets of a node."""

    def __init__(self, buckets):
        self.buckets = buckets
        self.links = [link for bucket in buckets for link in bucket.links]

    def open(self):
        for bucket in self.buckets:
            bucket.is_flush_due = False
            for link in bucket.links:
                link.open(bucket.path)

    def close(self):
        for link in self.links:
            link.close()

    def n_answers(self):
        return sum(bucket.history.n_answers for bucket in self.buckets)

    def _loop(self, must_send, is_over, timeout_s):
        """Until is_over() or until all connections have ended. True: the latter."""
        with select.epoll() as poll:
            by_number = {link.socket.fileno(): link for link in self.links}
            for number in by_number:
                poll.register(number, select.EPOLLIN)
            waiting = set()
            deadline = time.monotonic() + timeout_s
            while by_number and not is_over():
                if time.monotonic() > deadline:
                    slow = [link for link in by_number.values() if link.n_on_way()]
                    raise Lie(f"no answer in {timeout_s} s in " + ", ".join(
                        sorted({f"{link.bucket.name}: {link.sent[link.at][1].verb.decode()}" for link in slow})))
                for number, _ in poll.poll(0.05):
                    link = by_number[number]
                    if link.out:
                        link.send()
                    if not link.receive():
                        poll.unregister(number)
                        del by_number[number]
                        continue
                    if must_send():
                        link.bucket.refill(link)
                    if bool(link.out) != (number in waiting):
                        waiting ^= {number}
                        poll.modify(number, select.EPOLLIN | (select.EPOLLOUT if link.out else 0))
                if must_send():
                    for bucket in self.buckets:
                        if bucket.is_flush_due or not bucket.links[0].n_on_way():
                            for link in bucket.links:
                                if link.socket.fileno() in by_number:
                                    bucket.refill(link)
        return not by_number

    def work(self, seconds, n_answers_max=None, timeout_s=None):
        """Sends for a time or until so many answers have come, then waits for those on their way. True: the node
        closed all connections first."""
        end = time.monotonic() + seconds
        n_max = None if n_answers_max is None else self.n_answers() + n_answers_max

        def must_send():
            return time.monotonic() < end and (n_max is None or self.n_answers() < n_max)

        def is_over():
            return not must_send() and not any(link.n_on_way() for link in self.links)

        for link in self.links:
            link.bucket.refill(link)
        return self._loop(must_send, is_over, seconds + (timeout_s or yakumo.TIMEOUT_S))

    def read_all(self, must_send=lambda: False):
        """Reads every key once; each must be what the history allows. True: the node closed all connections."""
        for link in self.links:
            link.push([(key, GETS) for key in link.keys])
        return self._loop(must_send, lambda: not any(link.n_on_way() for link in self.links), yakumo.TIMEOUT_S)
