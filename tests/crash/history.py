"""What each key of a bucket may hold, by what was sent and what was answered; and the verdict on what is found.

One connection owns a key, and its commands on that key are done in the order in which they were sent. So each
key has a short list of states that it may be in: one, as long as everything was answered. An answer that says
what happened drops the states in which it could not have been given; a command without an answer adds the
states that it may have left. A node that dies leaves of a key's unanswered commands a first part done.

A state is (value, client flags, CAS unique, floor): value None where there is no record; CAS 0 where nobody has
looked since it was written: then it must be above the floor, which is every CAS unique seen of that key, and
before the last start every one seen in the whole bucket, because versions only grow.
"""
import collections
import zlib

ABSENT = (None, 0, 0, 0)
STATES_MAX = 2000  # of one key; beyond that something else is wrong
LOG_SIZE = 24      # how many of its last commands a key remembers, for the complaint
UNKNOWN = b"SERVER_ERROR outcome unknown"
NOT_A_NUMBER = b"CLIENT_ERROR cannot increment or decrement non-numeric value"
UINT64 = 1 << 64


class Lie(AssertionError):
    """The node said or holds what it must not."""


Op = collections.namedtuple("Op", "verb data flags number", defaults=(b"", 0, 0))


def _number(value):
    """The number that a value is for incr and decr, or None."""
    if 1 <= len(value) <= 20 and value.isdigit() and int(value) < UINT64:
        return int(value)
    return None


def _count(op, state, floor):
    number = _number(state[0])
    if number is None:
        return NOT_A_NUMBER, state
    number = (number + op.number) % UINT64 if op.verb == b"incr" else max(number - op.number, 0)
    value = b"%d" % number
    return value, (value, state[1], 0, floor)


def step(op, state, floor):
    """(the answer that op gets in a state, the state that it leaves)"""
    verb, is_there = op.verb, state[0] is not None
    if verb == b"set" or (verb == b"add" and not is_there) or (verb == b"replace" and is_there):
        return b"STORED", (op.data, op.flags, 0, floor)
    if verb in (b"add", b"replace"):
        return b"NOT_STORED", state
    if verb == b"flush_all":
        return b"OK", ABSENT
    if verb in (b"append", b"prepend"):
        if not is_there:
            return b"NOT_STORED", state
        value = state[0] + op.data if verb == b"append" else op.data + state[0]
        return b"STORED", (value, state[1], 0, floor)
    if not is_there:
        return b"NOT_FOUND", state
    if verb == b"delete":
        return b"DELETED", ABSENT
    if verb == b"touch":
        return b"TOUCHED", state
    if verb == b"cas":
        if op.number != state[2] or not state[2]:
            return b"EXISTS", state
        return b"STORED", (op.data, op.flags, 0, floor)
    return _count(op, state, floor)


def brief(value):
    """A value as a complaint shows it."""
    if value is None:
        return "nothing"
    head = value if len(value) <= 48 else value[:32] + b"..." + value[-12:]
    return f"{head!r} ({len(value)} bytes, crc {zlib.crc32(value):08x})"


def brief_state(state):
    value, flags, cas, floor = state
    if value is None:
        return "nothing"
    return f"{brief(value)} flags {flags} cas " + (str(cas) if cas else f"above {floor}")


class Key:
    __slots__ = ("name", "states", "latest", "top", "log", "ever", "n_written")

    def __init__(self, name, keeps_ever):
        self.name = name
        self.states = [ABSENT]
        self.latest = None  # those of the states in which all that was left unanswered is done; None: as states
        self.top = 0        # the greatest CAS unique seen
        self.log = collections.deque(maxlen=LOG_SIZE)
        self.ever = {(None, 0)} if keeps_ever else None  # (hash of value, flags) of every state it may have been in
        self.n_written = 0  # counts values, so that no two are the same


class History:
    """Of one bucket. is_prefix: a node's death leaves a first part of the unanswered commands done; else any of
    them, in order. keeps_ever: found_old() can be asked."""

    def __init__(self, name, is_prefix=True, keeps_ever=False):
        self.name = name
        self.is_prefix = is_prefix
        self.keeps_ever = keeps_ever
        self.keys = {}
        self.floor = 0      # every CAS unique before the last start is at most this
        self.top = 0
        self.refusals = collections.Counter()
        self.n_answers = 0
        self.n_unanswered = 0
        self.n_done = 0     # of those that were unanswered, how many keys turned out to hold one's effect
        self.n_checked = 0

    def key(self, name):
        key = self.keys[name] = Key(name, self.keeps_ever)
        return key

    def restarted(self):
        """A new start: whatever is written from now on has a greater version than all before."""
        self.floor = self.top

    def forget(self):
        """The bucket has begun anew, with nothing."""
        for key in self.keys.values():
            key.states, key.latest, key.top = [ABSENT], None, 0
            key.log.append("(begun anew)")
        self.floor = self.top = 0

    def lie(self, key, text):
        states = "\n".join("  " + brief_state(state) for state in key.states[:8])
        if len(key.states) > 8:
            states += f"\n  and {len(key.states) - 8} more"
        log = "\n".join("  " + (entry if isinstance(entry, str) else brief_entry(*entry)) for entry in key.log)
        return Lie(f"bucket {self.name} key {key.name.decode()}: {text}\nit may hold:\n{states}\n"
                   f"its last commands and answers:\n{log}")

    def _next(self, key, op, states):
        floor = max(key.top, self.floor)
        return [step(op, state, floor) for state in states]

    def _note(self, key, states):
        if key.ever is not None:
            key.ever.update((None, 0) if state[0] is None else (hash(state[0]), state[1]) for state in states)

    def _add(self, key, states, more):
        """states and those of more that it lacks."""
        known = set(states)
        states = states + [state for state in dict.fromkeys(more) if state not in known]
        if len(states) > STATES_MAX:
            raise self.lie(key, f"{len(states)} states are possible")
        return states

    def answered(self, key, op, reply):
        """A command that writes was answered by this line."""
        self.n_answers += 1
        key.log.append((op, reply))
        key.latest = None
        nexts = self._next(key, op, key.states)
        states = [state for said, state in nexts if said == reply]
        if states:
            key.states = states if len(states) == 1 else list(dict.fromkeys(states))
        elif reply == UNKNOWN:
            key.states = self._add(key, key.states, [state for _, state in nexts])
        elif reply.startswith((b"SERVER_ERROR ", b"CLIENT_ERROR ")) and reply != NOT_A_NUMBER:
            # A promise: it did not happen.
            self.refusals[reply] += 1
        else:
            raise self.lie(key, f"{op.verb.decode()} was answered {reply!r}, expected "
                           + " or ".join(repr(said) for said in dict.fromkeys(said for said, _ in nexts)))
        self._note(key, key.states)

    def unanswered(self, key, op):
        """A command was sent, or was about to be, and the connection ended before its answer. In order of sending."""
        self.n_unanswered += 1
        key.log.append((op, None))
        before = key.states if key.latest is None or not self.is_prefix else key.latest
        key.latest = [state for _, state in self._next(key, op, before)]
        key.states = self._add(key, key.states, key.latest)
        self._note(key, key.latest)

    def _settle(self, key, state):
        if key.latest is not None and state in key.states[1:]:
            self.n_done += 1
        key.latest = None
        self.n_checked += 1

    def found_nothing(self, key):
        key.log.append("nothing found")
        if ABSENT not in key.states:
            raise self.lie(key, "there is no record")
        self._settle(key, ABSENT)
        key.states = [ABSENT]

    def found(self, key, value, flags, cas):
        """The key was read. From now on it holds this."""
        matched = None
        for state in key.states:
            if state[0] == value and state[1] == flags and (cas == state[2] if state[2] else cas > state[3]):
                matched = state
                break
        if matched is None:
            raise self.lie(key, self._why_not(key, value, flags, cas))
        if not matched[2]:
            key.log.append(f"found with cas {cas}")
        self._settle(key, matched)
        key.states = [(value, flags, cas, 0)]
        key.top = max(key.top, cas)
        self.top = max(self.top, cas)

    def _why_not(self, key, value, flags, cas):
        found = f"found {brief_state((value, flags, cas, 0))}"
        alike = [state for state in key.states if state[0] == value]
        if any(state[1] == flags for state in alike):
            return f"{found}: that version was seen before, or another one, with that value"
        if alike:
            return f"{found}: other flags"
        if key.states == [ABSENT]:
            return f"{found}: what was deleted, or never stored, is there"
        return f"{found}: no state that it may be in"

    def found_old(self, key, value, flags, cas):
        """The key was read where some of what was acknowledged may be lost: any state that it ever may have had
        will do. From now on it holds this."""
        if ((None, 0) if value is None else (hash(value), flags)) not in key.ever:
            raise self.lie(key, f"found {brief_state((value, flags, cas, 0))}: it never held that")
        key.latest = None
        key.states = [ABSENT if value is None else (value, flags, cas, 0)]
        key.top = max(key.top, cas)
        self.top = max(self.top, cas)
        self.n_checked += 1


def brief_entry(op, reply):
    words = op.verb.decode()
    if op.verb in (b"incr", b"decr", b"cas"):
        words += f" {op.number}"
    if op.data:
        words += f" {brief(op.data)}"
    if op.flags:
        words += f" flags {op.flags}"
    return words + (": no answer" if reply is None else f": {reply.decode(errors='replace')}")
