#!/bin/sh
# Make ./configure from configure.ac; needs autoconf, automake and libtool.
cd "$(dirname "$0")" || exit 1
mkdir -p m4 build-aux
exec autoreconf -fi
