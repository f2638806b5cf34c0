/* nowait.c: what the systems' own files share: the names of the disk guards, as engine_info tells them. */
#include "platform/nowait.h"

const char *lli_disk_guard_name(enum lli_disk_guard guard)
{
    static const char *const names[] = {[LLI_DISK_UNKNOWN] = "unknown",
                                        [LLI_DISK_NOWAIT] = "nowait",
                                        [LLI_DISK_TMPFS] = "tmpfs",
                                        [LLI_DISK_MINCORE] = "mincore",
                                        [LLI_DISK_WORKER_ONLY] = "worker_only",
                                        [LLI_DISK_NONE] = "none"};
    return (size_t)guard < LLI_COUNT(names) ? names[guard] : "unknown";
}
