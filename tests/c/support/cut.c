/* cut.c: see the header.
 *
 * The tape is played up to the cut. A file is its durable bytes and a list of what was done since: the end of a sync
 * makes what was done before its beginning durable. At the cut each file loses some of its list:
 *
 *   NOTHING     the disk was quick: all of it is there
 *   EVERYTHING  the disk was slow: nothing of it is there
 *   TAIL        it worked in order, and was stopped inside an entry
 *   SCATTERED   it worked in any order: each sector of each write is there or not
 *
 * SQLite relies on this and no more (https://www.sqlite.org/atomiccommit.html#hardware_assumptions): what is
 * inside a sector that was being written may be old or new; bytes beside the write are not harmed (powersafe overwrite,
 * which SQLite's unix VFS assumes); a file may have grown before its content came. A later write to a sector is never
 * replaced by an earlier one: the system holds one copy of it.
 *
 * One thing more than POSIX promises, as the file systems of Linux have it: the sync of a file that was just made keeps
 * its name. SQLite needs that with several connections: the one that made the WAL syncs the directory at its own
 * first sync, but another one may commit before. */
#include "support/cut.h"

#include "support/support.h"

enum manner {
    NOTHING,
    EVERYTHING,
    TAIL,
    SCATTERED,
    MANNERS
};

struct content {
    unsigned char *bytes;
    size_t size, room;
};

struct file {
    struct content content;
    size_t *pending; /* places on the tape */
    size_t count, room;
};

struct disk {
    const struct t_tape *tape;
    uint64_t random;
    bool in_order;
    size_t sector;
    struct file *files;
    struct t_tape_name *names; /* durable; texts belong to the tape */
    size_t name_count;
    size_t *pending; /* what was done to the directory since its sync */
    size_t pending_count;
};

static uint64_t draw(struct disk *disk, uint64_t below)
{
    disk->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = disk->random;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

/* ---- files ---- */

static void resize(struct content *content, size_t size, unsigned char filling)
{
    if (size >= content->room) {
        content->room = size + size / 2 + 4096;
        content->bytes = realloc(content->bytes, content->room);
        T_CHECK(content->bytes != NULL);
    }
    if (size > content->size)
        memset(content->bytes + content->size, filling, size - content->size);
    content->size = size;
}

static void put(struct content *content, const struct t_tape_op *op, size_t from, size_t to,
                unsigned char filling)
{
    size_t end = (size_t)op->offset + to;
    if (end > content->size)
        resize(content, end, filling);
    memcpy(content->bytes + op->offset + from, op->bytes + from, to - from);
}

static void apply(struct content *content, const struct t_tape_op *op)
{
    if (op->kind == T_TAPE_TRUNCATE)
        resize(content, (size_t)op->offset, 0);
    else
        put(content, op, 0, op->size, 0);
}

/* Some sectors of one write. */
static void tear(struct disk *disk, struct content *content, const struct t_tape_op *op,
                 unsigned kept_of_8, unsigned char filling)
{
    for (size_t from = 0; from < op->size;) {
        size_t place = (size_t)op->offset + from;
        size_t to = from + disk->sector - place % disk->sector;
        if (to > op->size)
            to = op->size;
        if (draw(disk, 8) < kept_of_8)
            put(content, op, from, to, filling);
        else if ((size_t)op->offset + to > content->size && draw(disk, 2) == 0)
            resize(content, (size_t)op->offset + to, filling);
        from = to;
    }
}

static struct content cut_file(struct disk *disk, const struct file *file)
{
    struct content content = {0};
    resize(&content, file->content.size, 0);
    memcpy(content.bytes, file->content.bytes, content.size);
    enum manner manner = (enum manner)draw(disk, MANNERS);
    if (manner == NOTHING && draw(disk, 2) == 0) /* the least interesting one */
        manner = SCATTERED;
    if (manner == SCATTERED && disk->in_order)
        manner = TAIL;
    unsigned kept_of_8 = 1 + (unsigned)draw(disk, 7);
    unsigned char filling = draw(disk, 2) ? 0 : (unsigned char)draw(disk, 256);
    size_t whole = manner == TAIL && file->count > 0 ? (size_t)draw(disk, file->count)
                 : manner == NOTHING                 ? file->count
                                                     : 0;
    for (size_t i = 0; i < file->count && manner != EVERYTHING; i++) {
        const struct t_tape_op *op = &disk->tape->ops[file->pending[i]];
        if (i < whole)
            apply(&content, op);
        else if (manner == TAIL && i > whole)
            break;
        else if (op->kind == T_TAPE_WRITE)
            tear(disk, &content, op, kept_of_8, filling);
        else if (draw(disk, 8) < kept_of_8)
            apply(&content, op);
    }
    return content;
}

static void append(size_t **list, size_t *count, size_t place)
{
    if (*count % 64 == 0) {
        *list = realloc(*list, (*count + 64) * sizeof **list);
        T_CHECK(*list != NULL);
    }
    (*list)[(*count)++] = place;
}

static void synced(struct disk *disk, struct file *file, size_t began)
{
    size_t left = 0;
    for (size_t i = 0; i < file->count; i++)
        if (file->pending[i] < began)
            apply(&file->content, &disk->tape->ops[file->pending[i]]);
        else
            file->pending[left++] = file->pending[i];
    file->count = left;
}

/* ---- the directory ---- */

static void name_op(struct disk *disk, const struct t_tape_op *op)
{
    size_t i = 0;
    while (i < disk->name_count && strcmp(disk->names[i].name, op->name) != 0)
        i++;
    if (op->kind == T_TAPE_DELETE) {
        if (i < disk->name_count)
            disk->names[i] = disk->names[--disk->name_count];
        return;
    }
    if (i == disk->name_count) {
        disk->names = realloc(disk->names, (disk->name_count + 1) * sizeof *disk->names);
        T_CHECK(disk->names != NULL);
        disk->name_count++;
    }
    disk->names[i] = (struct t_tape_name){op->name, op->inode};
}

static void cut_directory(struct disk *disk)
{
    enum manner manner = (enum manner)draw(disk, MANNERS);
    size_t whole = disk->pending_count;
    if (manner == TAIL)
        whole = (size_t)draw(disk, disk->pending_count + 1);
    for (size_t i = 0; i < whole && manner != EVERYTHING; i++)
        if (manner != SCATTERED || draw(disk, 2) == 0)
            name_op(disk, &disk->tape->ops[disk->pending[i]]);
    disk->pending_count = 0;
}

/* The sync of a file that was just made keeps its name, too, and what was done to that name before. */
static void name_synced(struct disk *disk, unsigned inode)
{
    for (size_t i = 0; i < disk->pending_count; i++) {
        const struct t_tape_op *made = &disk->tape->ops[disk->pending[i]];
        if (made->kind != T_TAPE_CREATE || made->inode != inode)
            continue;
        name_op(disk, made);
        size_t left = 0;
        for (size_t j = 0; j < disk->pending_count; j++)
            if (j > i || strcmp(disk->tape->ops[disk->pending[j]].name, made->name) != 0)
                disk->pending[left++] = disk->pending[j];
        disk->pending_count = left;
        return;
    }
}

/* ---- all of it ---- */

static void play(struct disk *disk, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        const struct t_tape_op *op = &disk->tape->ops[i];
        struct file *file = &disk->files[op->inode];
        switch (op->kind) {
        case T_TAPE_WRITE:
        case T_TAPE_TRUNCATE:
            append(&file->pending, &file->count, i);
            break;
        case T_TAPE_SYNC_BEGINS:
            break;
        case T_TAPE_SYNC_ENDS:
            synced(disk, file, op->began);
            name_synced(disk, op->inode);
            break;
        case T_TAPE_CREATE:
        case T_TAPE_DELETE:
            append(&disk->pending, &disk->pending_count, i);
            break;
        case T_TAPE_DIR_SYNC:
            for (size_t j = 0; j < disk->pending_count; j++)
                name_op(disk, &disk->tape->ops[disk->pending[j]]);
            disk->pending_count = 0;
            break;
        }
    }
}

static void write_out(const struct content *content, const char *dir, const char *name)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *out = fopen(path, "wb");
    T_CHECK(out != NULL);
    T_CHECK(fwrite(content->bytes, 1, content->size, out) == content->size);
    T_CHECK(fclose(out) == 0);
}

void t_cut(const struct t_tape *tape, size_t at, uint64_t seed, bool in_order, const char *dir)
{
    T_CHECK(at <= tape->count);
    struct disk disk = {.tape = tape, .random = seed, .in_order = in_order};
    disk.sector = draw(&disk, 2) ? 512 : 4096;
    disk.files = calloc(tape->inode_count + 1, sizeof *disk.files);
    T_CHECK(disk.files != NULL);
    for (size_t i = 0; i < tape->inode_count; i++) {
        struct content *content = &disk.files[i].content;
        resize(content, tape->inodes[i].size, 0);
        memcpy(content->bytes, tape->inodes[i].bytes, content->size);
    }
    for (size_t i = 0; i < tape->name_count; i++)
        name_op(&disk, &(struct t_tape_op){.kind = T_TAPE_CREATE,
                                           .name = tape->names[i].name,
                                           .inode = tape->names[i].inode});
    play(&disk, at);
    cut_directory(&disk);
    for (size_t i = 0; i < disk.name_count; i++) {
        struct content content = cut_file(&disk, &disk.files[disk.names[i].inode]);
        write_out(&content, dir, disk.names[i].name);
        free(content.bytes);
    }
    for (size_t i = 0; i < tape->inode_count; i++) {
        free(disk.files[i].content.bytes);
        free(disk.files[i].pending);
    }
    free(disk.files);
    free(disk.names);
    free(disk.pending);
}
