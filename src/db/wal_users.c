/* wal_users.c: lists by file under one mutex, which is never held together with another or across a call of SQLite.
 *
 * A fork copies the lists whole, for it takes the mutex. The connections in them are the parent's; nobody in the child
 * holds a lock for them, so they count for nothing there, but may be taken out. */
#include "db/wal_users.h"

#include "platform/fork.h"
#include "platform/thread.h"

enum {
    LISTS = 64 /* a power of two */
};

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static struct lli_list lists[LISTS]; /* under mu; all zero: empty, never used */

static struct lli_list *list_of(uint64_t device, uint64_t inode)
{
    uint64_t hash = (inode ^ device << 40) * UINT64_C(0x9e3779b97f4a7c15);
    struct lli_list *list = &lists[hash >> 56 & (LISTS - 1)];
    if (!list->head.next)
        lli_list_init(list);
    return list;
}

void lli_wal_user_enter(struct lli_wal_user *user, uint64_t device, uint64_t inode)
{
    lli_lock(&mu);
    user->device = device;
    user->inode = inode;
    user->generation = lli_fork_generation();
    if (!lli_node_linked(&user->node))
        lli_list_push_front(list_of(device, inode), &user->node);
    lli_unlock(&mu);
}

void lli_wal_user_leave(struct lli_wal_user *user)
{
    lli_lock(&mu);
    if (lli_node_linked(&user->node))
        lli_list_remove(&user->node);
    lli_unlock(&mu);
}

static bool same(const struct lli_wal_user *a, const struct lli_wal_user *b)
{
    return a->inode == b->inode && a->device == b->device && a->generation == b->generation;
}

bool lli_wal_user_leave_to_others(struct lli_wal_user *user)
{
    bool other = false;
    lli_lock(&mu);
    if (lli_node_linked(&user->node)) {
        struct lli_list *list = list_of(user->device, user->inode);
        for (struct lli_node *node = lli_list_first(list); node && !other;
             node = lli_list_next(list, node)) {
            const struct lli_wal_user *each = LLI_CONTAINER_OF(node, struct lli_wal_user, node);
            other = each != user && same(each, user);
        }
        if (other)
            lli_list_remove(&user->node);
    }
    lli_unlock(&mu);
    return other;
}

static void before_fork(void)
{
    lli_lock(&mu);
}

static void after_fork(void)
{
    lli_unlock(&mu);
}

void lli_wal_users_watch_fork(void)
{
    pthread_atfork(before_fork, after_fork, after_fork);
}
