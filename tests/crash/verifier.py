#!/usr/bin/env python3
"""The verifier of histories: what it must accept, and what it must refuse.

Run alone: top_srcdir=. python3 tests/crash/verifier.py [CASE ...]
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from history import ABSENT, Lie, NOT_A_NUMBER, History, Op, UNKNOWN


def begin(*sent, **options):
    """A history of one key: each of sent is a command and its answer, None where there was none."""
    history = History("b", **options)
    key = history.key(b"k")
    for op, reply in sent:
        say(history, key, op, reply)
    return history, key


def say(history, key, op, reply):
    if reply is None:
        history.unanswered(key, op)
    else:
        history.answered(key, op, reply)


def store(value, verb=b"set", flags=0):
    return Op(verb, value, flags)


def refuses(action, *arguments, why=""):
    try:
        action(*arguments)
    except Lie as lie:
        yakumo.matches(str(lie), why)
        return
    raise AssertionError(f"accepted: {action.__name__} {arguments[1:]}")


A, B, C = store(b"a"), store(b"b"), store(b"c")
DELETE = Op(b"delete")


def what_was_acknowledged_is_there():
    history, key = begin((A, b"STORED"), (B, b"STORED"))
    history.found(key, b"b", 0, 7)
    history.found(key, b"b", 0, 7)
    yakumo.equal((history.n_checked, key.states), (2, [(b"b", 0, 7, 0)]))


def a_lost_acknowledgement():
    history, key = begin((A, b"STORED"), (B, b"STORED"))
    refuses(history.found, key, b"a", 0, 7, why="no state that it may be in")
    refuses(history.found_nothing, key, why="there is no record")


def an_acknowledgement_lost_later():
    history, key = begin((A, b"STORED"), (B, None))
    history.found(key, b"b", 0, 7)
    refuses(history.found, key, b"a", 0, 8)


def a_deleted_record_that_is_back():
    history, key = begin((A, b"STORED"), (DELETE, b"DELETED"))
    refuses(history.found, key, b"a", 0, 7, why="what was deleted")
    history.found_nothing(key)
    history, key = begin((A, b"STORED"), (DELETE, None))
    history.found(key, b"a", 0, 7)
    history, key = begin((A, b"STORED"), (Op(b"flush_all"), b"OK"))
    refuses(history.found, key, b"a", 0, 7)


def unanswered_commands_are_done_in_order():
    for found in (b"a", b"ab", b"abc"):
        history, key = begin((A, b"STORED"), (store(b"b", b"append"), None), (store(b"c", b"append"), None))
        history.found(key, found, 0, 9)
    for found in (b"ac", b"acb", b"b", b"abcc"):
        refuses(history.found, begin((A, b"STORED"), (store(b"b", b"append"), None),
                                     (store(b"c", b"append"), None))[1], found, 0, 9)


def a_reordered_pair():
    history, key = begin((A, b"STORED"), (B, None), (C, None))
    history.found(key, b"c", 0, 9)
    history, key = begin((A, b"STORED"), (B, b"STORED"), (C, b"STORED"))
    refuses(history.found, key, b"b", 0, 9)
    history, key = begin((A, b"STORED"), (store(b"b", b"add"), None), (store(b"c", b"replace"), None))
    refuses(history.found, key, b"b", 0, 9)


def without_prefixes_any_of_them_in_order():
    for found in (b"a", b"ab", b"ac", b"abc"):
        history, key = begin((A, b"STORED"), (store(b"b", b"append"), None), (store(b"c", b"append"), None),
                             is_prefix=False)
        history.found(key, found, 0, 9)
    history, key = begin((A, b"STORED"), (store(b"b", b"append"), None), (store(b"c", b"append"), None),
                         is_prefix=False)
    refuses(history.found, key, b"acb", 0, 9)


def a_repeated_version():
    history, key = begin((A, b"STORED"))
    history.found(key, b"a", 0, 7)
    say(history, key, B, b"STORED")
    refuses(history.found, key, b"b", 0, 7, why="version")
    refuses(history.found, key, b"b", 0, 6, why="version")
    history.found(key, b"b", 0, 8)
    refuses(history.found, key, b"b", 0, 9, why="version")


def a_version_kept_by_touch_and_by_what_did_nothing():
    history, key = begin((A, b"STORED"))
    history.found(key, b"a", 0, 7)
    say(history, key, Op(b"touch"), b"TOUCHED")
    say(history, key, store(b"x", b"add"), b"NOT_STORED")
    refuses(history.found, key, b"a", 0, 8, why="version")
    history.found(key, b"a", 0, 7)


def a_version_below_one_of_another_key_before_the_start():
    history, key = begin((A, b"STORED"))
    other = history.key(b"other")
    say(history, other, A, b"STORED")
    history.found(other, b"a", 0, 100)
    say(history, key, B, b"STORED")
    history.restarted()
    history.found(key, b"b", 0, 50)
    say(history, key, C, b"STORED")
    refuses(history.found, key, b"c", 0, 60, why="version")
    history.found(key, b"c", 0, 101)


def a_version_of_a_record_made_after_a_deletion():
    history, key = begin((A, b"STORED"))
    history.found(key, b"a", 0, 7)
    say(history, key, DELETE, b"DELETED")
    say(history, key, store(b"b", b"add"), b"STORED")
    refuses(history.found, key, b"b", 0, 7, why="version")


def a_refused_write_that_appears():
    for reply in (b"SERVER_ERROR out of memory storing object", b"SERVER_ERROR no space left"):
        history, key = begin((A, b"STORED"), (B, reply))
        refuses(history.found, key, b"b", 0, 7)
        history.found(key, b"a", 0, 7)
        yakumo.equal(history.refusals[reply], 1)
    history, key = begin((A, b"STORED"), (store(b"b", b"add"), b"NOT_STORED"))
    refuses(history.found, key, b"b", 0, 7)
    history, key = begin((A, b"STORED"))
    history.found(key, b"a", 0, 7)
    say(history, key, Op(b"cas", b"b", 0, 6), b"EXISTS")
    refuses(history.found, key, b"b", 0, 8)


def an_unknown_outcome_is_either():
    for found in (b"a", b"b"):
        history, key = begin((A, b"STORED"), (B, UNKNOWN))
        history.found(key, found, 0, 7)
    history, key = begin((A, b"STORED"), (B, UNKNOWN), (store(b"!", b"append"), b"STORED"))
    refuses(history.found, key, b"b", 0, 7)
    history.found(key, b"b!", 0, 7)
    history, key = begin((A, b"STORED"), (DELETE, UNKNOWN), (store(b"c", b"add"), b"NOT_STORED"))
    refuses(history.found_nothing, key)


def a_wrong_sum():
    add = Op(b"incr", number=5)
    history, key = begin((store(b"1"), b"STORED"), (add, b"6"), (add, b"11"))
    refuses(history.answered, key, add, b"11", why="expected b'16'")
    for found in (b"6", b"16", b"1"):
        refuses(history.found, key, found, 0, 7)
    history.found(key, b"11", 0, 7)
    say(history, key, add, None)
    say(history, key, Op(b"decr", number=20), None)
    refuses(history.found, key, b"21", 0, 8)
    history.found(key, b"0", 0, 8)
    history, key = begin((store(b"18446744073709551615"), b"STORED"), (Op(b"incr", number=2), b"1"))
    history.found(key, b"1", 0, 8)
    history, key = begin((A, b"STORED"), (add, NOT_A_NUMBER))
    history.found(key, b"a", 0, 8)


def an_append_that_is_there_twice():
    history, key = begin((A, b"STORED"), (store(b"b", b"append"), b"STORED"))
    refuses(history.found, key, b"abb", 0, 7)
    refuses(history.found, key, b"a", 0, 7)


def answers_that_cannot_be():
    history, key = begin((A, b"STORED"))
    for op, reply in ((store(b"b", b"add"), b"STORED"), (store(b"b", b"replace"), b"NOT_STORED"),
                      (DELETE, b"NOT_FOUND"), (Op(b"touch"), b"NOT_FOUND"), (Op(b"cas", b"b", 0, 3), b"STORED")):
        refuses(history.answered, key, op, reply)


def other_flags():
    history, key = begin((store(b"a", flags=3), b"STORED"))
    refuses(history.found, key, b"a", 4, 7, why="other flags")
    say(history, key, store(b"b", b"append", 9), b"STORED")
    history.found(key, b"ab", 3, 7)


def old_states_where_loss_is_allowed():
    history, key = begin((A, b"STORED"), (B, b"STORED"), (C, None), keeps_ever=True)
    for found in (b"a", b"b", b"c"):
        history.found_old(key, found, 0, 7)
    history.found_old(key, None, 0, 0)
    yakumo.equal(key.states, [ABSENT])
    refuses(history.found_old, key, b"d", 0, 7, why="it never held that")
    refuses(history.found_old, key, b"a", 1, 7, why="it never held that")


yakumo.run(what_was_acknowledged_is_there, a_lost_acknowledgement, an_acknowledgement_lost_later,
           a_deleted_record_that_is_back, unanswered_commands_are_done_in_order, a_reordered_pair,
           without_prefixes_any_of_them_in_order, a_repeated_version,
           a_version_kept_by_touch_and_by_what_did_nothing, a_version_below_one_of_another_key_before_the_start,
           a_version_of_a_record_made_after_a_deletion, a_refused_write_that_appears, an_unknown_outcome_is_either,
           a_wrong_sum, an_append_that_is_there_twice, answers_that_cannot_be, other_flags,
           old_states_where_loss_is_allowed)
