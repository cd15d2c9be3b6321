/* An object that has a map and no program. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, unsigned int);
	__type(value, unsigned int);
} alone SEC(".maps");

char LICENSE[] SEC("license") = "Dual BSD/GPL";
