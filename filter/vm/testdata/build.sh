#!/bin/sh -e
# Makes the objects that the tests load: version 3 of the instruction set, which
# is the newest that clang 14 has, little-endian (bpfel) as all machines are
# that this module runs on. Needs clang and llvm-strip (14 or newer), libbpf's
# headers and the kernel's. The DWARF sections, which would carry paths of the
# machine, are stripped; BTF stays.
cd "$(dirname "$0")"
for source in *.c; do
	object="${source%.c}.o"
	clang -target bpfel -mcpu=v3 -O2 -g -Wall -Werror -fdebug-compilation-dir=. \
		-I"/usr/include/$(uname -m)-linux-gnu" -c "$source" -o "$object"
	llvm-strip -g "$object"
done
