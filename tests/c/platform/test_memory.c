/* Pages of large blocks: asked for at once, and nothing but that. */
#include "support/support.h"

#include "platform/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PAGES = 64
};

#if defined(__linux__)
static size_t resident(void *block, size_t page)
{
    unsigned char in_memory[PAGES];
    size_t count = 0;
    T_CHECK(mincore(block, PAGES * page, in_memory) == 0);
    for (size_t i = 0; i < PAGES; i++)
        count += in_memory[i] & 1;
    return count;
}

static void whole_pages_are_there_at_once(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *block = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                       0);
    T_CHECK(block != MAP_FAILED);
    T_EQUAL(resident(block, page), 0);
    lli_memory_ready(block + 1, PAGES * page - 2); /* the first and the last one are not whole */
    size_t count = resident(block, page);
    if (count == 0)
        print_message("skipped: this system does not give pages at once\n");
    else
        T_EQUAL(count, PAGES - 2);
    munmap(block, PAGES * page);
}
#endif

static void what_is_there_stays(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4096, 65536, 65537, 1000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *block = malloc(sizes[i] + 3);
        T_CHECK(block);
        memset(block, 'x', sizes[i] + 3);
        errno = EXDEV;
        lli_memory_ready(block + 1, sizes[i]);
        T_EQUAL(errno, EXDEV);
        for (size_t k = 0; k < sizes[i] + 3; k++)
            T_CHECK(block[k] == 'x');
        free(block);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#if defined(__linux__)
        T_TEST(whole_pages_are_there_at_once),
#endif
        T_TEST(what_is_there_stays),
    };
    return T_RUN(tests);
}
