#!/usr/bin/env python3
"""Links between the nodes of a cluster are cut, in one way or both, under clients who reach all nodes and write down
what they see: it is linearizable, those that are many enough go on, and all do when the links are whole again.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/cuts.py [CASE ...]
YK_ROUNDS=N: so many rounds of each case. Needs network namespaces; nothing of them stays.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import network
from recorder import under_traffic
from servers import NAMES, Servers
from yakumo import SLOW, eventually, rounds, run, skip

CUT_S = 3.0 * SLOW  # longer than what a copy waits before it seeks to take its primary's place
REASON = network.in_own_namespace()


def others(name):
    return [other for other in NAMES if other != name]


def with_cuts(cut, n_rounds, check=lambda servers, name: None, managers=NAMES):
    """cut(network, name) in each round, with another name; then check(servers, name), and the links are whole."""
    if REASON is not None:
        skip(REASON)
    names = "".join(sorted(set(NAMES + managers)))
    with network.Network(names) as net:
        before = {name: net.inside(name) for name in names}
        with Servers(managers=managers, hosts=net.hosts, before=before) as servers:

            def fault(i):
                name = NAMES[i % len(NAMES)]
                cut(net, name)
                time.sleep(CUT_S)
                check(servers, name)
                net.heal()

            under_traffic(servers, fault, n_rounds)


def others_go_on(servers, name):
    for other in others(name):
        eventually(lambda other=other: servers.serves(other, 1.0 * SLOW), 10 * SLOW,
                   f"node {other} goes on without {name}")


def isolate(net, name):
    for other in others(name):
        net.cut_both(name, other)


def one_is_isolated():
    """It is the primary of some slots and a backup of others."""
    with_cuts(isolate, rounds(3, 30), others_go_on)


def one_is_not_heard():
    def cut(net, name):
        for other in others(name):
            net.cut(name, other)
    with_cuts(cut, rounds(3, 30), others_go_on)


def one_hears_nothing():
    def cut(net, name):
        for other in others(name):
            net.cut(other, name)
    with_cuts(cut, rounds(3, 30), others_go_on)


def two_do_not_reach_each_other():
    """The third one reaches both."""
    with_cuts(lambda net, name: net.cut_both(*others(name)), rounds(2, 30))


def all_are_alone():
    def cut(net, _):
        net.cut_both("a", "b")
        net.cut_both("b", "c")
        net.cut_both("c", "a")
    with_cuts(cut, rounds(2, 30))


def managers_are_alone():
    """No majority of them is left, and data flows."""
    def cut(net, _):
        for manager in "def":
            for other in "abcdef":
                if other != manager:
                    net.cut_both(manager, other)

    def all_go_on(servers, _):
        for name in NAMES:
            assert servers.serves(name, 1.0 * SLOW), f"node {name} serves without managers"
    with_cuts(cut, rounds(1, 20), all_go_on, managers="def")


run(one_is_isolated, one_is_not_heard, one_hears_nothing, two_do_not_reach_each_other, all_are_alone,
    managers_are_alone)
