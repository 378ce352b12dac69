#!/bin/sh
# Prints C that defines the bytes of a file as NAME and NAME_size.
# usage: embed.sh NAME FILE
set -eu
echo '#include "image/guest_data.h"'
echo "const unsigned char $1[] = {"
od -An -v -tx1 "$2" | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'
echo '};'
echo "const size_t $1_size = sizeof $1;"
