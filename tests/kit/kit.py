"""What the kit's tests share: running the kit of this build, and TAP."""
import json
import os
import subprocess
import sys

SHORT = ["--rounds=2", "--ops=300"]
LONG = ["--rounds=10", "--ops=2000"]


def top_builddir():
    return os.path.abspath(os.environ.get("top_builddir", "."))


def top_srcdir():
    return os.path.abspath(os.environ.get("top_srcdir", "."))


def length():
    """The options for how long a run is."""
    return LONG if os.environ.get("YK_LONG") else SHORT


def module(*parts):
    """A module of this build by its libtool archive, as the kit takes it."""
    return os.path.join(top_builddir(), *parts)


def tool():
    return os.path.join(top_builddir(), "tools", "yakumo")


def run_kit(arguments, program=None, environment=None):
    """(exit status, what --json said or None, what went to standard error)"""
    command = [program or tool(), "kit", *arguments, "--json"]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        timeout=500, check=False,
    )
    try:
        said = json.loads(done.stdout)
    except ValueError:
        said = None
    return done.returncode, said, done.stderr


def plugins():
    """Names of the plugins on the path, by kind."""
    done = subprocess.run(
        [tool(), "plugins", "--json"], stdout=subprocess.PIPE, check=True, text=True
    )
    return {(one.get("kind"), one["name"]) for one in json.loads(done.stdout)}


class Tap:
    def __init__(self):
        self.n = self.n_failed = 0

    def result(self, is_good, name, remarks=()):
        self.n += 1
        self.n_failed += not is_good
        print(f"{'ok' if is_good else 'not ok'} {self.n} - {name}")
        for remark in remarks:
            print(f"# {remark}")
        sys.stdout.flush()

    def skip(self, name, reason):
        self.n += 1
        print(f"ok {self.n} - {name} # SKIP {reason}")

    def end(self):
        print(f"1..{self.n}")
        sys.exit(1 if self.n_failed else 0)


def broken_lines(said, errors):
    """One line for each broken promise, to be printed."""
    if said is None:
        return errors.splitlines() or ["the kit said nothing"]
    return [
        f"{one['rule']}: {one['what']}; again: {one['again']}"
        for one in said["broken"]
        if not one["excepted"]
    ]
