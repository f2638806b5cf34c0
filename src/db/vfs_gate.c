/* vfs_gate.c: the gates of all files; what they are for is in vfs_gate.h. */
#include "db/vfs_gate.h"

#include <pthread.h>

enum {
    GATES = 256 /* a power of two; 16 KB */
};

static struct lli_vfs_gate gates[GATES];
struct lli_vfs_gate lli_vfs_gate_all;

struct lli_vfs_gate *lli_vfs_gate_of(uint64_t device, uint64_t inode)
{
    uint64_t hash = (inode ^ device << 40) * UINT64_C(0x9e3779b97f4a7c15);
    return &gates[hash >> 56 & (GATES - 1)];
}

static void empty_in_child(void)
{
    for (size_t i = 0; i < GATES; i++)
        atomic_store_explicit(&gates[i].inside, 0, memory_order_relaxed);
    atomic_store_explicit(&lli_vfs_gate_all.inside, 0, memory_order_relaxed);
}

void lli_vfs_gates_watch_fork(void)
{
    pthread_atfork(NULL, NULL, empty_in_child);
}
