/* cost.c: the history of statements, kept per file and text for the whole process.
 *
 * Programs open a connection for one call and close it again, so a history that died with its connection
 * would know nothing when it is asked. Here it lives as long as the process, in a table with a bound; the
 * least recently asked-for text leaves first. A prepared statement holds a reference, so a repeated
 * statement pays neither a lookup nor a lock: admit and ran are some loads and stores.
 *
 * What decides
 *
 *                      quick enough on average
 *        +---------+  -------------------------->  +--------+
 *   ---> | unknown |                               | inline | <--------------+
 *        +---------+  ------------+                +--------+                |
 *                      too slow   v                  |    | an attempt       | `probation` quick
 *                             +--------+  <----------+    | overran          | runs on a worker
 *                             | worker |  average too     v                  |
 *                             +--------+  high         +-----------+  -------+
 *                                                      | probation |
 *        anything --- forbid ---> never                +-----------+
 *
 * The average is exponential (an eighth of each new run). A run counts with at most eight times the limit,
 * so that one worker that was preempted for 10 ms moves the average by less than the limit, and two quick
 * runs make it good. The first overrun costs 8 quick runs on a worker, each later one twice as many, up to
 * 1024; as many clean runs on the loop as the last probation was long, times 16, and the next one is
 * short again. Without the growth a statement that is slow for every tenth parameter would stall
 * the loop once in eighteen runs for ever; with it, once in a thousand.
 *
 * Threads. The table (map, lru, bytes, `refs`, `in_table`, programs) is under `mu`, which is never held
 * across SQLite, an allocation or a callback. The numbers are relaxed atomics, read and written separately
 * by loops in several threads that run the same text: a lost update loses one sample of an average, or one
 * step of a probation, and no thread reads other memory on the strength of what it sees there. `forbidden` is
 * the exception, it must not be lost: fetch_or.
 *
 * Memory is taken from the C library and not from the host's allocator, which may be exchanged while no object
 * of the library lives: this table outlives all of them. fork() takes `mu` so that the child finds the
 * table whole. */
#include "db/cost.h"

#include "base/fault.h"
#include "base/list.h"
#include "base/map.h"
#include "platform/thread.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_PROBATION = 8,
    LONGEST_PROBATION = 1024,
    CLEAN_RUNS_PER_PROBATION = 16,
    AVERAGE_SHIFT = 3,
    WORST_SAMPLE = 8 /* times the limit */
};

struct lli_cost {
    /* fixed after creation */
    struct lli_map_entry entry; /* key: the text; its hash has the file in it, see file_hash() */
    /* under `mu` */
    struct lli_node lru;
    unsigned refs; /* users; the table's own is `in_table` */
    bool in_table;
    bool has_program;
    struct lli_program program; /* of a read that touches "main" only */
    /* atomic, all relaxed */
    _Atomic uint64_t average_ns;   /* 0: never ran */
    _Atomic uint32_t probation;    /* quick runs on a worker that are still owed */
    _Atomic uint32_t next_penalty; /* the length of the next probation; 0: the shortest */
    _Atomic uint32_t clean;        /* runs on the loop since the last overrun */
    atomic_uint forbidden;         /* enum lli_forbid; never lost: fetch_or */
    char sql[];
};

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static struct lli_map_entry *buckets[LLI_COST_ENTRIES];         /* under mu */
static struct lli_map map = {buckets, LLI_COST_ENTRIES - 1, 0}; /* under mu */
static struct lli_list lru = {{&lru.head, &lru.head}};          /* under mu; oldest first */
static size_t bytes;                                            /* under mu; of texts */
static _Atomic uint64_t private_keys;                           /* any thread, relaxed */

static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
    pthread_mutex_lock(&mu);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&mu);
}

static void watch_fork(void)
{
    pthread_atfork(before_fork, after_fork, after_fork);
}

/* A bijection (the last steps of splitmix64), so that different keys stay different. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t lli_cost_file_key(uint64_t dev, uint64_t inode)
{
    return mix(mix(dev) + inode) >> 1; /* the upper half belongs to private keys */
}

uint64_t lli_cost_private_key(void)
{
    return (UINT64_C(1) << 63) + atomic_fetch_add_explicit(&private_keys, 1, memory_order_relaxed);
}

/* For one text, different files give different hashes, and the map compares hash and text whole: two files
 * never share an entry. */
static uint64_t file_hash(uint64_t file_key, const char *sql, size_t size)
{
    return lli_map_hash(sql, size) ^ mix(file_key);
}

/* Takes it out of the table; true if nobody else holds it and the caller, who has `mu`, is to free it. */
static bool expel(struct lli_cost *cost)
{
    lli_map_remove(&map, &cost->entry);
    lli_list_remove(&cost->lru);
    bytes -= cost->entry.size;
    cost->in_table = false;
    return cost->refs == 0;
}

/* Under mu: the least recently asked for, to be freed by the caller; NULL when all is within bounds. Skips
 * those that somebody else holds: they leave the table and are freed by their last user. */
static struct lli_cost *next_victim(void)
{
    while (map.count > LLI_COST_ENTRIES || bytes > LLI_COST_BYTES) {
        struct lli_cost *oldest = LLI_CONTAINER_OF(lli_list_first(&lru), struct lli_cost, lru);
        if (expel(oldest))
            return oldest;
    }
    return NULL;
}

/* Under mu: a reference, and the newest place in the list. */
static struct lli_cost *find(uint64_t hash, const char *sql, size_t size)
{
    struct lli_map_entry *entry = lli_map_find(&map, hash, sql, size);
    if (!entry)
        return NULL;
    struct lli_cost *cost = LLI_CONTAINER_OF(entry, struct lli_cost, entry);
    lli_list_remove(&cost->lru);
    lli_list_push(&lru, &cost->lru);
    cost->refs++;
    return cost;
}

static struct lli_cost *make(uint64_t hash, const char *sql, size_t size)
{
    if (LLI_FAULT(LLI_FAULT_ALLOC))
        return NULL;
    struct lli_cost *cost = calloc(1, sizeof *cost + size + 1);
    if (!cost)
        return NULL;
    if (size > 0)
        memcpy(cost->sql, sql, size);
    cost->entry.hash = hash;
    cost->entry.key = cost->sql;
    cost->entry.size = size;
    cost->refs = 1;
    return cost;
}

struct lli_cost *lli_cost_get(uint64_t file_key, const char *sql, size_t size)
{
    if (size > LLI_COST_TEXT)
        return NULL;
    pthread_once(&fork_once, watch_fork);
    uint64_t hash = file_hash(file_key, sql, size);
    lli_lock(&mu);
    struct lli_cost *cost = find(hash, sql, size);
    lli_unlock(&mu);
    if (cost)
        return cost;
    struct lli_cost *mine = make(hash, sql, size);
    if (!mine)
        return NULL;
    struct lli_cost *victim = NULL;
    lli_lock(&mu);
    cost = find(hash, sql, size); /* another thread may have been quicker */
    if (!cost) {
        cost = mine;
        mine = NULL;
        cost->in_table = true;
        bytes += size;
        lli_map_insert(&map, &cost->entry);
        lli_list_push(&lru, &cost->lru);
        victim = next_victim();
    }
    lli_unlock(&mu);
    free(mine);
    while (victim) { /* a long text may take the place of several short ones */
        free(victim);
        lli_lock(&mu);
        victim = next_victim();
        lli_unlock(&mu);
    }
    return cost;
}

void lli_cost_unref(struct lli_cost *cost)
{
    if (!cost)
        return;
    lli_lock(&mu);
    assert(cost->refs > 0);
    bool last = --cost->refs == 0 && !cost->in_table;
    lli_unlock(&mu);
    if (last)
        free(cost);
}

/* ---- the numbers: no lock ---- */

static uint32_t load32(const _Atomic uint32_t *at)
{
    return atomic_load_explicit(at, memory_order_relaxed);
}

static void store32(_Atomic uint32_t *at, uint32_t value)
{
    atomic_store_explicit(at, value, memory_order_relaxed);
}

uint64_t lli_cost_average_ns(const struct lli_cost *cost)
{
    return cost ? atomic_load_explicit(&cost->average_ns, memory_order_relaxed) : 0;
}

uint32_t lli_cost_probation(const struct lli_cost *cost)
{
    return cost ? load32(&cost->probation) : 0;
}

unsigned lli_cost_forbidden(const struct lli_cost *cost)
{
    return cost ? atomic_load_explicit(&cost->forbidden, memory_order_relaxed) : 0;
}

enum lli_admit lli_cost_admit(const struct lli_cost *cost, bool bounded)
{
    if (!cost)
        return bounded ? LLI_ADMIT_INLINE : LLI_ADMIT_FIRST;
    if (lli_cost_forbidden(cost) != 0 || load32(&cost->probation) > 0)
        return LLI_ADMIT_NO;
    uint64_t average = lli_cost_average_ns(cost);
    if (average == 0)
        return bounded ? LLI_ADMIT_INLINE : LLI_ADMIT_FIRST;
    return average <= LLI_COST_LIMIT_NS ? LLI_ADMIT_INLINE : LLI_ADMIT_NO;
}

/* Runs on the loop that were good for long enough make the next probation a short one. */
static void count_clean(struct lli_cost *cost)
{
    uint32_t penalty = load32(&cost->next_penalty);
    if (penalty == 0)
        return;
    uint32_t clean = load32(&cost->clean) + 1;
    if (clean < penalty / 2 * CLEAN_RUNS_PER_PROBATION) {
        store32(&cost->clean, clean);
        return;
    }
    store32(&cost->clean, 0);
    store32(&cost->next_penalty, 0);
}

void lli_cost_ran(struct lli_cost *cost, uint64_t ns, bool inline_run)
{
    if (!cost)
        return;
    const uint64_t worst = WORST_SAMPLE * LLI_COST_LIMIT_NS;
    bool quick = ns <= LLI_COST_LIMIT_NS;
    uint64_t sample = ns < worst ? ns : worst;
    uint64_t average = lli_cost_average_ns(cost);
    if (average == 0)
        average = sample;
    else
        average = average - (average >> AVERAGE_SHIFT) + (sample >> AVERAGE_SHIFT);
    atomic_store_explicit(&cost->average_ns, average > 0 ? average : 1, memory_order_relaxed);
    uint32_t probation = load32(&cost->probation);
    if (inline_run)
        count_clean(cost);
    else if (quick && probation > 0)
        store32(&cost->probation, probation - 1);
}

void lli_cost_overran(struct lli_cost *cost)
{
    if (!cost)
        return;
    uint32_t penalty = load32(&cost->next_penalty);
    if (penalty == 0)
        penalty = FIRST_PROBATION;
    store32(&cost->probation, penalty);
    store32(&cost->next_penalty, penalty < LONGEST_PROBATION ? penalty * 2 : LONGEST_PROBATION);
    store32(&cost->clean, 0);
}

void lli_cost_forbid(struct lli_cost *cost, enum lli_forbid why)
{
    if (cost)
        atomic_fetch_or_explicit(&cost->forbidden, (unsigned)why, memory_order_relaxed);
}

/* ---- programs ---- */

void lli_cost_give_program(struct lli_cost *cost, const struct lli_program *program)
{
    if (!cost)
        return;
    lli_lock(&mu);
    cost->program = *program;
    cost->has_program = true;
    lli_unlock(&mu);
}

bool lli_cost_take_program(struct lli_cost *cost, uint32_t cookie, struct lli_program *ret_program)
{
    if (!cost)
        return false;
    lli_lock(&mu);
    /* A program without a cookie looks at no table, so no schema changes it. */
    bool found = cost->has_program && (cost->program.cookie == cookie || cost->program.cookie == 0);
    if (found)
        *ret_program = cost->program;
    lli_unlock(&mu);
    return found;
}

size_t lli_cost_count(void)
{
    lli_lock(&mu);
    size_t count = map.count;
    lli_unlock(&mu);
    return count;
}

void lli_cost_clear(void)
{
    lli_lock(&mu);
    struct lli_node *node;
    while ((node = lli_list_first(&lru)) != NULL) {
        struct lli_cost *cost = LLI_CONTAINER_OF(node, struct lli_cost, lru);
        if (expel(cost))
            free(cost);
    }
    lli_unlock(&mu);
}
