/* test_wal_users.c: who has the WAL of a file open, in this process. */
#include "db/wal_users.h"

#include "db/vfs_shim.h"
#include "support/support.h"

#include <pthread.h>

static void whoever_is_left(void **state)
{
    (void)state;
    struct lli_wal_user users[4];
    memset(users, 0, sizeof users);
    T_CHECK(!lli_wal_user_leave_to_others(&users[0])); /* it never came */
    lli_wal_user_leave(&users[0]);
    lli_wal_user_enter(&users[0], 1, 2);
    T_CHECK(!lli_wal_user_leave_to_others(&users[0]));
    lli_wal_user_enter(&users[1], 1, 3); /* other files */
    lli_wal_user_enter(&users[2], 2, 2);
    T_CHECK(!lli_wal_user_leave_to_others(&users[0]));
    lli_wal_user_enter(&users[3], 1, 2);
    T_CHECK(lli_wal_user_leave_to_others(&users[3]));
    T_CHECK(!lli_wal_user_leave_to_others(&users[3])); /* it has left */
    T_CHECK(!lli_wal_user_leave_to_others(&users[0]));
    lli_wal_user_enter(&users[3], 1, 2);
    T_CHECK(lli_wal_user_leave_to_others(&users[0]));
    T_CHECK(!lli_wal_user_leave_to_others(&users[3]));
    for (int i = 0; i < 4; i++)
        lli_wal_user_leave(&users[i]);
}

/* What a fork has copied belongs to the parent's connections. */
static int finds_nobody(void *arg)
{
    struct lli_wal_user *inherited = arg, mine;
    memset(&mine, 0, sizeof mine);
    lli_wal_user_enter(&mine, inherited->device, inherited->inode);
    T_CHILD(!lli_wal_user_leave_to_others(&mine));
    lli_wal_user_leave(inherited);
    lli_wal_user_leave(&mine);
    return 0;
}

static void in_the_child_of_a_fork(void **state)
{
    (void)state;
    struct lli_wal_user user, other;
    memset(&user, 0, sizeof user);
    memset(&other, 0, sizeof other);
    lli_wal_user_enter(&user, 1, 2);
    t_in_child(finds_nobody, &user);
    lli_wal_user_enter(&other, 1, 2);
    T_CHECK(lli_wal_user_leave_to_others(&user)); /* the child has changed nothing here */
    lli_wal_user_leave(&other);
}

enum {
    TIMES = 2000
};

static void *comes_and_goes(void *arg)
{
    size_t *last = arg;
    struct lli_wal_user user;
    memset(&user, 0, sizeof user);
    for (int i = 0; i < TIMES; i++) {
        lli_wal_user_enter(&user, 7, 7);
        *last += !lli_wal_user_leave_to_others(&user);
        lli_wal_user_leave(&user);
    }
    return NULL;
}

/* Beside one that stays, nobody is ever the last. */
static void many_threads(void **state)
{
    (void)state;
    struct lli_wal_user stays;
    pthread_t threads[4];
    memset(&stays, 0, sizeof stays);
    size_t last[4] = {0};
    lli_wal_user_enter(&stays, 7, 7);
    for (int i = 0; i < 4; i++)
        T_CHECK(pthread_create(&threads[i], NULL, comes_and_goes, &last[i]) == 0);
    for (int i = 0; i < 4; i++) {
        T_CHECK(pthread_join(threads[i], NULL) == 0);
        T_EQUAL(last[i], 0);
    }
    T_CHECK(!lli_wal_user_leave_to_others(&stays));
    lli_wal_user_leave(&stays);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(whoever_is_left),
        T_TEST(in_the_child_of_a_fork),
        T_TEST(many_threads),
    };
    return T_RUN(tests);
}
