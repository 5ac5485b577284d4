#!/bin/sh
# Runs a test program so that it speaks TAP; some programs must be told to.
case $1 in
*tests/unit/* | *tests/sim/*) exec "$@" --tap ;;
*) exec "$@" ;;
esac
