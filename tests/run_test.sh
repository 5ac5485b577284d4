#!/bin/sh
# Runs a test program so that it speaks TAP; GLib's programs must be told to.
case $1 in
*tests/unit/*) exec "$@" --tap ;;
*) exec "$@" ;;
esac
