#!/bin/sh -e
# Makes the objects that the tests load. Needs clang and llvm-strip (14 or
# newer), libbpf's headers and the kernel's. The DWARF sections, which would
# carry paths of the machine, are stripped; BTF stays.
cd "$(dirname "$0")"
for source in *.c; do
	object="${source%.c}.o"
	clang -target bpf -mcpu=v3 -O2 -g -Wall -Wno-unused-value -fdebug-compilation-dir=. \
		-I"/usr/include/$(uname -m)-linux-gnu" -c "$source" -o "$object"
	llvm-strip -g "$object"
done
