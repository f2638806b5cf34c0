/* vfs_no_wal.c: see the header. */
#include "db/vfs_no_wal.h"

#include <string.h>

/* Whose version this thread has read right now. */
static _Thread_local struct lli_no_wal *just_read;

void lli_no_wal_init(struct lli_no_wal *self, const char *name)
{
    *self = (struct lli_no_wal){.name = name, .name_size = name ? strlen(name) : 0};
}

void lli_no_wal_has_read(struct lli_no_wal *self, const void *version)
{
    if (!self->name)
        return;
    if (memcmp(self->version, version, LLI_VERSION_SIZE) != 0) {
        memcpy(self->version, version, LLI_VERSION_SIZE);
        self->was_absent = false;
    }
    just_read = self;
}

void lli_no_wal_unlocked(void)
{
    just_read = NULL;
}

struct lli_no_wal *lli_no_wal_take(const char *name)
{
    struct lli_no_wal *self = just_read;
    just_read = NULL;
    if (!self || !name || strncmp(name, self->name, self->name_size) != 0 ||
        strcmp(name + self->name_size, "-wal") != 0)
        return NULL;
    return self;
}
