"""What scenario and interop tests share: nodes, raw clients, TAP. Python's standard library only.

A test script is a list of functions and a call of run(). Each function is one TAP case; it asserts,
and leaves what it started to the library: every node that it started is stopped at its end, and a
node that ends otherwise than by exit status 0 (a crash, a finding of a sanitizer or of valgrind)
fails the case.

The environment:
  top_srcdir, top_builddir  where the tree and its build are; make sets them
  YK_LONG=1                 the long form of the tests that have one
  YK_VALGRIND=1             the daemon runs under valgrind
  YK_SLOW=N                 waits are N times as long, and loads smaller
  YK_KEEP=1                 the temporary folder stays
  YK_IO=epoll               the engine of the nodes' loop; without it they choose
  YK_SEED=N                 what random_source() begins with
  YK_ROUNDS=N               so many rounds of the tests that have rounds
A script takes names of cases as arguments and then runs only those.
"""
import atexit
import ctypes
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True

HERE = os.path.dirname(os.path.abspath(__file__))
SRCDIR = os.path.abspath(os.environ.get("top_srcdir") or os.path.join(HERE, "..", ".."))
BUILDDIR = os.path.abspath(os.environ.get("top_builddir") or ".")
YAKUMOD = os.path.join(BUILDDIR, "yakumod")
IS_LONG = os.environ.get("YK_LONG", "") not in ("", "0")
IS_VALGRIND = os.environ.get("YK_VALGRIND", "") not in ("", "0")
IO = os.environ.get("YK_IO") or None  # the loop's engine: "epoll" or "io_uring"; None: as the node chooses
SLOW = int(os.environ.get("YK_SLOW") or (10 if IS_VALGRIND else 1))
TIMEOUT_S = 10.0 * SLOW
PLUGIN_FOLDERS = ("frontends", "backends", "plugins/filters", "plugins/coordinators")
VALGRIND = ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full",
            "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite", "--num-callers=25"]
PR_SET_PDEATHSIG = 1

folder = tempfile.mkdtemp(prefix="yakumo-test-")
_libc = ctypes.CDLL(None, use_errno=True)
_nodes = []     # started by the case that runs
_children = []  # every process that was started and not yet waited for
_n_names = 0


class Skip(Exception):
    """Raised by skip(): the case could not run here."""


def skip(reason):
    raise Skip(reason)


def temporary(name):
    """A path in the temporary folder that no case has had before."""
    global _n_names
    _n_names += 1
    return os.path.join(folder, f"{_n_names}-{name}")


def write_file(name, text):
    """A new file in the temporary folder; returns its path."""
    path = temporary(name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def read_file(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def random_source():
    """A random.Random; its seed is printed, so that YK_SEED can bring it back."""
    seed = int(os.environ.get("YK_SEED") or random.randrange(1 << 32))
    print(f"# YK_SEED={seed}", flush=True)
    return random.Random(seed)


def rounds(short, long):
    """How often a test does again what it does."""
    return int(os.environ.get("YK_ROUNDS") or (long if IS_LONG else short))


def eventually(condition, timeout_s=None, what="it"):
    """Waits until condition() is true, and returns what it returned."""
    end = time.monotonic() + (timeout_s or TIMEOUT_S)
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen in time")
        time.sleep(0.01)


def equal(got, expected, what="value"):
    if got != expected:
        raise AssertionError(f"{what}: expected {shorten(expected)}, got {shorten(got)}")


def matches(text, pattern, what="text"):
    if re.search(pattern, text, re.M) is None:
        raise AssertionError(f"{what}: nothing like {pattern!r} in {shorten(text)}")


def shorten(thing):
    shown = repr(thing)
    return shown if len(shown) <= 600 else shown[:400] + f"...({len(shown)} bytes)..." + shown[-150:]


# Processes

def _end_with_parent():
    """In the child: it does not outlive the test."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def spawn(command, **options):
    """A process that ends with this one."""
    child = subprocess.Popen(command, preexec_fn=_end_with_parent, **options)
    _children.append(child)
    return child


def _kill(child):
    if child.poll() is None:
        child.kill()
        child.wait()
    if child in _children:
        _children.remove(child)


@atexit.register
def _clean_up():
    for child in list(_children):
        _kill(child)
    if os.environ.get("YK_KEEP", "") in ("", "0"):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"# kept: {folder}")


def environment(extra=None):
    """For the daemon: the plugins of the build folder, and no settings of whoever runs the tests."""
    own = {name: text for name, text in os.environ.items()
           if name not in ("JOURNAL_STREAM", "NOTIFY_SOCKET", "XDG_STATE_HOME", "YK_PLUGIN_PATH")}
    own["LC_ALL"] = "C"
    if IS_VALGRIND:
        own["YK_PLUGIN_PATH"] = ":".join(os.path.join(BUILDDIR, name) for name in PLUGIN_FOLDERS)
    own.update(extra or {})
    return own


def has_plugin(name):
    """Was it built?"""
    return any(os.path.exists(os.path.join(BUILDDIR, place, name, name + ".la")) for place in PLUGIN_FOLDERS)


def need_plugin(name):
    if not has_plugin(name):
        skip(f"{name} was not built")


def daemon_command():
    if IS_VALGRIND:
        return VALGRIND + [os.path.join(BUILDDIR, "core", "main", "yakumod")]
    return [YAKUMOD]


def yakumod(*arguments, before=(), **options):
    """Runs the daemon to its end: (exit status, standard output, standard error)."""
    child = spawn([*before, *daemon_command(), *arguments], env=environment(),
                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                  text=True, errors="replace", **options)
    try:
        out, err = child.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        _kill(child)
        out, err = child.communicate()
        raise AssertionError(f"yakumod {' '.join(arguments)} did not end: {err}") from None
    _children.remove(child)
    return child.returncode, out, err


def refused(*arguments, **options):
    """Runs a daemon that must not start: one line and exit status 1; returns the line."""
    status, out, err = yakumod(*arguments, **options)
    equal(status, 1, f"exit status (with {err!r})")
    equal(out, "", "standard output")
    lines = err.splitlines()
    equal(len(lines), 1, f"lines of {err!r}")
    matches(lines[0], r"\Ayakumod: .", "standard error")
    return lines[0]


def free_port(host="127.0.0.1"):
    """A port that nobody holds now, below those that the system gives to clients."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            try:
                probe.bind((host, port))
                return port
            except OSError:
                pass


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


PORT_ZERO = re.compile(r"(127\.0\.0\.1|\[::1\]):0\b")


def with_ports(text):
    """The text with a free port for each port 0."""
    return PORT_ZERO.sub(lambda found: f"{found[1]}:{free_port(found[1].strip('[]'))}", text)


class Node:
    """A running yakumod. "127.0.0.1:0" and "[::1]:0" in config and options become free ports.

    config: text of a config file; None: the built-in one. options: for -o. data: the data folder, by
    default a new one. extra: variables of its environment. name: of the node in the file, where it has several.
    """

    STARTS_MAX = 5

    def __init__(self, config=None, options=(), data=None, extra=None, start=True, before=(), name=None):
        self.data = data or temporary("data")
        self.config = config
        self.given_options = [f"node.data={self.data}", *options]
        if config is None and "frontend.memcached.listen=" not in " ".join(options):
            self.given_options.append("frontend.memcached.listen=127.0.0.1:0")
        self.config_file = None
        self.options = None
        self.log_file = None
        self.extra = extra
        self.before = list(before)
        self.name = name
        self.pass_descriptors = ()
        self.child = None
        self.addresses = []  # (frontend, address) as logged
        self._choose_ports()
        if start:
            self.start()

    def _choose_ports(self):
        self.options = [with_ports(text) for text in self.given_options]
        if self.config is not None:
            self.config_file = write_file("node.conf", with_ports(self.config))

    def command(self):
        command = [*self.before, *daemon_command()]
        if self.config_file is not None:
            command += ["-c", self.config_file]
        if self.name is not None:
            command += ["--node", self.name]
        if IO is not None:
            command += ["-o", f"node.io={IO}"]
        for option in self.options:
            command += ["-o", option]
        return command

    def spawn(self):
        """Starts it and does not wait."""
        self.log_file = temporary("log")
        with open(self.log_file, "wb") as log:
            self.child = spawn(self.command(), env=environment(self.extra),
                               stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                               pass_fds=self.pass_descriptors)
        _nodes.append(self)

    def start(self):
        """Starts it and waits until it serves. Another process may take a port meanwhile."""
        for _ in range(self.STARTS_MAX):
            self.spawn()
            try:
                self.wait_log(r"\bmain: ready ")
                break
            except AssertionError:
                _nodes.remove(self)
                _kill(self.child)
                if "Address already in use" not in self.log():
                    raise
                self._choose_ports()
        self.addresses = re.findall(r'listening frontend="([^"]*)" address=(\S+)', self.log())
        return self

    @property
    def pid(self):
        return self.child.pid

    def log(self):
        return read_file(self.log_file)

    def wait_log(self, pattern, n=1, timeout_s=None):
        """Waits for the n-th line that matches; returns that match."""

        def look():
            found = list(re.finditer(pattern, self.log(), re.M))
            if len(found) >= n:
                return found[n - 1]
            if self.child.poll() is not None:
                raise AssertionError(f"the node ended ({self.child.returncode}): {self.log()}")
            return None

        return eventually(look, timeout_s, f"a log line like {pattern!r}")

    def address(self, frontend="memcached"):
        """(host, port) of a frontend, or the path of its Unix socket."""
        for name, text in self.addresses:
            if name == frontend:
                return parse_address(text)
        raise AssertionError(f"the node has no listener of {frontend}")

    @property
    def port(self):
        return self.address()[1]

    def client(self, frontend="memcached", **options):
        return Client(self.address(frontend), **options)

    def send_signal(self, number):
        os.kill(self.child.pid, number)

    def pause(self):
        """Returns when all its threads stand still."""
        self.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.child.pid, os.WSTOPPED)

    def resume(self):
        self.send_signal(signal.SIGCONT)

    def rss(self):
        """Bytes of resident memory."""
        found = re.search(r"^VmRSS:\s+(\d+) kB", read_file(f"/proc/{self.pid}/status"), re.M)
        return int(found[1]) * 1024

    def n_descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def n_threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def wait(self, timeout_s=None):
        """Waits for its end; returns its exit status."""
        try:
            return self.child.wait(timeout_s or TIMEOUT_S + 10)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the node did not end: {self.log()}") from None

    def stop(self, number=signal.SIGTERM, expect=0):
        """Ends it, or waits for its end (number None), and checks how it ended."""
        if self.child is None:
            return
        if self in _nodes:
            _nodes.remove(self)
        try:
            if number is not None and self.child.poll() is None:
                self.send_signal(number)
            status = self.wait()
        finally:
            _kill(self.child)
        log = self.log()
        if status != expect or re.search(r"ERROR: \w+Sanitizer|runtime error:|^==\d+== ", log, re.M):
            raise AssertionError(f"the node ended with {status}, expected {expect}: {log[-4000:]}")

    def keep(self):
        """It outlives the case that started it; another one stops it."""
        _nodes.remove(self)
        return self

    def kill(self):
        """kill -9."""
        if self in _nodes:
            _nodes.remove(self)
        _kill(self.child)


def parse_address(text):
    if text.startswith("unix:"):
        return text[len("unix:"):].partition("?")[0]
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def raise_descriptors(n):
    """So many open files may this process have; skips where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < n:
        skip(f"at most {hard} open files")
    if soft != resource.RLIM_INFINITY and soft < n:
        resource.setrlimit(resource.RLIMIT_NOFILE, (n, hard))


# Clients

class Client:
    """A raw connection: sends bytes, reads lines and blocks."""

    def __init__(self, address, timeout_s=None, receive_buffer=None):
        family = (socket.AF_UNIX if isinstance(address, str) else
                  socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout_s or TIMEOUT_S)
        self.socket.connect(address)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.came = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def _receive(self):
        data = self.socket.recv(1 << 18)
        self.came += data
        return len(data)

    def line(self):
        """The next line without its end; b"" with is_over() at the end of the stream."""
        at = 0
        while True:
            end = self.came.find(b"\n", at)
            if end >= 0:
                line = bytes(self.came[:end + 1])
                del self.came[:end + 1]
                if not line.endswith(b"\r\n"):
                    raise AssertionError(f"a line without CR LF: {line[:200]!r}")
                return line[:-2]
            at = len(self.came)
            if self._receive() == 0:
                raise AssertionError(f"the connection was closed after {bytes(self.came[-200:])!r}")

    def bytes(self, size):
        while len(self.came) < size:
            if self._receive() == 0:
                raise AssertionError(f"the connection was closed {size - len(self.came)} bytes early")
        data = bytes(self.came[:size])
        del self.came[:size]
        return data

    def rest(self):
        """Everything up to the close by the other side."""
        try:
            while self._receive() > 0:
                pass
        except ConnectionResetError:
            pass
        data = bytes(self.came)
        self.came.clear()
        return data

    def ask(self, command):
        """Sends a command without a block and returns the one line of its answer."""
        self.send(command + b"\r\n")
        return self.line()

    def lines(self):
        """Lines up to END, which is left out; or one line that is an error."""
        lines = []
        while True:
            line = self.line()
            if line in (b"END", b"RESET", b"ERROR") or b"_ERROR" in line[:12]:
                return lines if line == b"END" else lines + [line]
            lines.append(line)

    def ask_lines(self, command):
        self.send(command + b"\r\n")
        return self.lines()

    def set(self, key, value, flags=0, exptime=0, verb=b"set", cas=b""):
        """Returns the line of the answer."""
        self.send(b"%s %s %d %d %d%s\r\n%s\r\n" % (verb, key, flags, exptime, len(value),
                                                    b" " + cas if cas else b"", value))
        return self.line()

    def values(self):
        """The rest of an answer to get or gets: {key: (value, flags, cas)}, or the error line."""
        found = {}
        while True:
            line = self.line()
            if line == b"END":
                return found
            words = line.split(b" ")
            if words[0] != b"VALUE":
                return line
            value = self.bytes(int(words[3]) + 2)
            equal(value[-2:], b"\r\n", "end of a value")
            found[words[1]] = (value[:-2], int(words[2]), int(words[4]) if len(words) > 4 else None)

    def get(self, key, verb=b"get"):
        """The value; None: not there; the error line where there is one."""
        self.send(verb + b" " + key + b"\r\n")
        found = self.values()
        return found.get(key, (None,))[0] if isinstance(found, dict) else found

    def gets(self, key):
        """(value, cas) or None."""
        self.send(b"gets " + key + b"\r\n")
        found = self.values()
        return (found[key][0], found[key][2]) if key in found else None

    def stats(self, topic=b""):
        lines = self.ask_lines(b"stats" + (b" " + topic if topic else b""))
        return dict(line.decode().split(" ", 2)[1:] for line in lines)

    def is_served(self):
        """A whole exchange works. A flush that another client had asked for may come due in the middle of one."""
        for _ in range(2):
            equal(self.set(b"is_served", b"yes"), b"STORED", "answer to set")
            value = self.get(b"is_served")
            if value is not None:
                break
        equal(value, b"yes", "value that was just stored")
        return True


# TAP

def _stop_nodes():
    """Stops what the case has left running; the first complaint counts."""
    complaint = None
    for node in list(_nodes):
        try:
            node.stop()
        except (AssertionError, OSError) as error:
            complaint = complaint or error
    if complaint is not None:
        raise complaint


def _diagnose(text):
    for line in text.splitlines():
        print(f"#   {line}")


def _run_case(number, name, case):
    words = name.replace("_", " ")
    logs = []
    try:
        try:
            case()
            logs = [node.log_file for node in _nodes]
            _stop_nodes()
        finally:
            logs = logs or [node.log_file for node in _nodes]
            for node in list(_nodes):
                node.kill()
    except Skip as reason:
        print(f"ok {number} - {words} # SKIP {reason}", flush=True)
        return True
    except Exception as error:
        print(f"not ok {number} - {words}")
        _diagnose(f"{type(error).__name__}: {error}")
        _diagnose("".join(traceback.format_tb(error.__traceback__)[-4:]))
        for log in logs:
            _diagnose("log: " + "\n".join(read_file(log).splitlines()[-20:]))
        _diagnose(f"this case alone: top_srcdir={os.environ.get('top_srcdir') or SRCDIR} "
                  f"top_builddir={os.environ.get('top_builddir') or BUILDDIR} "
                  f"python3 {sys.argv[0]} {name}")
        sys.stdout.flush()
        return False
    print(f"ok {number} - {words}", flush=True)
    return True


def bail(reason):
    print(f"Bail out! {reason}", flush=True)
    sys.exit(1)


def run(*cases):
    """Runs the cases, or those named on the command line; a case is a function or (name, function)."""
    named = [case if isinstance(case, tuple) else (case.__name__, case) for case in cases]
    wanted = sys.argv[1:]
    if wanted:
        unknown = set(wanted) - {name for name, _ in named}
        if unknown:
            sys.exit(f"no case {', '.join(sorted(unknown))}; there are: "
                     + " ".join(name for name, _ in named))
        named = [(name, case) for name, case in named if name in wanted]
    if not os.access(YAKUMOD, os.X_OK):
        bail(f"{YAKUMOD} is missing: make it, or set top_builddir")
    if IS_VALGRIND and shutil.which("valgrind") is None:
        bail("YK_VALGRIND=1 needs valgrind")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"1..{len(named)}", flush=True)
    n_failed = 0
    for number, (name, case) in enumerate(named, 1):
        n_failed += not _run_case(number, name, case)
    sys.exit(1 if n_failed else 0)
