#!/usr/bin/env python3
"""Loss of power in the middle of writes: what a bucket promised to have on the device is there.

An ext4 on a loop file is shut down by force (EXT4_IOC_SHUTDOWN without a flush of its journal), so that all is
lost that was not synced; the nodes on it are killed, it is unmounted and mounted again, and they start again.
No answer counts that was read after the power went off. That is more than realism: an fsync that is under way
while ext4 is shut down may return 0 though nothing of it is kept, which no device with power off can do.
It is mounted in a mount namespace of this process: however this ends, the mount and its loop device end with it.

Run alone, in a build folder, as root: top_srcdir=.. top_builddir=. python3 ../tests/crash/power.py
YK_ROUNDS=N says how often, YK_SEED=N repeats the choices. See README.md here.
"""
import ctypes
import fcntl
import os
import re
import shutil
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import rig
import yakumo
from yakumo import skip, temporary

N_ROUNDS = rig.n_rounds(22, 200)
IMAGE_SIZE = 1 << 30
CLONE_NEWNS = 0x00020000
EXT4_IOC_SHUTDOWN = 0x8004587D
EXT4_GOING_FLAGS_NOLOGFLUSH = 2


def call(*command):
    """Runs a command; an error with its words where it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=60 * yakumo.SLOW)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stdout.strip()}")


class Disk:
    """A file system that can lose its power."""

    def __init__(self):
        self.place = temporary("disk")
        self.image = temporary("image")
        self.folder = None
        os.mkdir(self.place)
        with open(self.image, "wb") as file:
            file.truncate(IMAGE_SIZE)
        call("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", self.image)

    def mount(self):
        call("mount", "-o", "loop", self.image, self.place)
        self.folder = os.open(self.place, os.O_RDONLY)

    def lose(self):
        fcntl.ioctl(self.folder, EXT4_IOC_SHUTDOWN, struct.pack("I", EXT4_GOING_FLAGS_NOLOGFLUSH))

    def unmount(self):
        os.close(self.folder)
        self.folder = None
        call("umount", self.place)


def need_mounts():
    """In a mount namespace of our own from here on; skips where that is not allowed."""
    if os.geteuid() != 0:
        skip("needs root, to mount a file system")
    if shutil.which("mkfs.ext4") is None:
        skip("mkfs.ext4 is missing")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        skip(f"may not have a mount namespace: {os.strerror(ctypes.get_errno())}")
    try:
        call("mount", "--make-rprivate", "/")
        disk = Disk()
        disk.mount()
    except OSError as error:
        skip(f"may not mount a file system on a loop device: {error}")
    return disk


def what_was_not_synced_is_lost():
    """Else the rest would show nothing."""
    disk = need_mounts()
    for name in ("lost", "kept"):
        with open(os.path.join(disk.place, name), "wb") as file:
            file.write(b"x" * 10000)
            if name == "kept":
                file.flush()
                os.fsync(file.fileno())
                os.fsync(disk.folder)
    with open(os.path.join(disk.place, "kept"), "ab") as file:
        file.write(b"y" * 10000)
    disk.lose()
    disk.unmount()
    disk.mount()
    yakumo.equal(os.path.getsize(os.path.join(disk.place, "kept")), 10000, "size of the synced file")
    lost = os.path.join(disk.place, "lost")
    assert not os.path.exists(lost) or os.path.getsize(lost) == 0, "a file that was not synced is there"
    disk.unmount()


class Loose(rig.Rig):
    """A node whose buckets do not promise to survive this: it serves what it has, or refuses in one line."""

    def __init__(self, kinds, seed, data):
        super().__init__(kinds, seed, data, may_lose=True)
        self.n_refused = self.n_died = self.n_part = 0

    def start(self):
        try:
            super().start()
        except AssertionError:
            if self.why_refused() is not None:
                self.n_refused += 1
            elif self.has_damaged_engine():
                self.n_died += 1
            else:
                raise
        else:
            if not re.search("this part of the keys is refused|lane stopped", self.node.log()):
                return
            self.n_part += 1
        self.begin_anew()
        super().start()


def one_round(disk, chance, held, loose):
    boot_id = f"{chance.getrandbits(128):032x}"
    stores = [held, loose]
    for store in stores:
        store.environment["YK_BOOT_ID"] = boot_id
        store.start()
    held.check_log()
    if chance.random() < 0.2:
        # A kill before the loss: what the restart brought about must be as safe as what it found.
        held.work(chance.uniform(0.01, 0.1), held.signal_kill)
        held.node.kill()
        held.start()

    def lose():
        for store in stores:
            for bucket in store.buckets:
                bucket.is_deaf = True
        disk.lose()
        time.sleep(chance.choice((0, 0, 0.002, 0.02)))
        for store in stores:
            store.signal_kill()

    held.work(chance.uniform(0.01, 0.5), lose, loose)
    for store in stores:
        store.node.kill()
    disk.unmount()
    disk.mount()


def lose_power_and_start_again():
    disk = need_mounts()
    chance = yakumo.random_source()
    kinds = rig.built()
    held = rig.Rig([kind for kind in kinds if kind.survives == rig.POWER], chance.random(),
                   os.path.join(disk.place, "held"))
    engines = list(dict.fromkeys(kind.engine for kind in kinds if kind.survives == rig.KILL))
    loose = [Loose([kind for kind in kinds if kind.engine == engine and kind.survives == rig.KILL], chance.random(),
                   os.path.join(disk.place, engine)) for engine in engines]
    began = time.monotonic()
    for i in range(N_ROUNDS):
        rig.progress(f"round {i + 1} of {N_ROUNDS}, {held.traffic.n_answers()} answers")
        try:
            one_round(disk, chance, held, loose[i % len(loose)])
        except AssertionError as error:
            raise AssertionError(f"round {i + 1}: {error}") from error
    rig.progress("")
    held.environment["YK_BOOT_ID"] = f"{chance.getrandbits(128):032x}"
    held.start()
    held.traffic.close()
    held.node.stop()
    print(f"# {N_ROUNDS} rounds in {time.monotonic() - began:.1f} s")
    for line in held.summary():
        print(f"# {line}")
    for store in loose:
        print(f"# {store.kinds[0].engine}, which did not promise it: {store.n_refused} starts refused, "
              f"{store.n_part} with a part of the keys refused, {store.n_died} died")
    disk.unmount()


yakumo.run(what_was_not_synced_is_lost, lose_power_and_start_again)
