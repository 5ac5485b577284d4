#!/usr/bin/env python3
"""The example plugins are built as an author elsewhere would, from what "make install" installs, and
pass the installed kit.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/kit/examples.py
"""
import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import kit

# What an author needs of it, and what the kit finds by itself.
TARGETS = ["install-binPROGRAMS", "install-yakumoincludeHEADERS", "install-pkgconfigDATA"]


def run(command, folder, environment):
    """None, or what it said when it failed."""
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=300, check=False,
    )
    return done.stdout.splitlines() if done.returncode else None


def installed_environment(root):
    """The environment of somebody for whom all of it lies in root."""
    environment = {
        key: text for key, text in os.environ.items()
        if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "YK_PLUGIN_PATH")
    }
    for where, _, names in os.walk(root):
        if "yakumo.pc" in names:
            environment["PKG_CONFIG_PATH"] = where
        if "yakumo" in names and os.path.basename(where) == "bin":
            environment["YAKUMO"] = os.path.join(where, "yakumo")
    environment["PKG_CONFIG_SYSROOT_DIR"] = root
    return environment


def main():
    tap = kit.Tap()
    if shutil.which("pkg-config") is None:
        tap.skip("examples", "there is no pkg-config")
        tap.end()
    with tempfile.TemporaryDirectory(prefix="yakumo-examples-") as folder:
        root = os.path.join(folder, "root")
        environment = installed_environment(folder)
        said = run(["make", *TARGETS, f"DESTDIR={root}"], kit.top_builddir(), environment)
        tap.result(said is None, "headers and tool are installed", said or ())
        environment = installed_environment(root)
        for kind, name in (("backend", "logmap"), ("frontend", "lines")):
            work = os.path.join(folder, kind)
            shutil.copytree(os.path.join(kit.top_srcdir(), "examples", f"plugin-{kind}"), work)
            subprocess.run(["chmod", "-R", "u+w", work], check=True)
            said = run(["make", f"{name}.so"], work, environment)
            tap.result(said is None, f"{name} is built from what is installed", said or ())
            program = environment.get("YAKUMO", "yakumo")
            flags = f"KITFLAGS={' '.join(kit.length())}"
            said = run(["make", "check", f"YAKUMO={program}", flags], work, environment)
            tap.result(said is None, f"{name} passes the installed kit", said or ())
            said = run(["make", "install", f"DESTDIR={root}"], work, environment)
            tap.result(said is None, f"{name} is installed", said or ())
    tap.end()


main()
