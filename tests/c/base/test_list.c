/* Intrusive lists: order, removal from anywhere, being in no list. */
#include "support/support.h"

#include "base/list.h"

struct item {
    int number;
    struct lli_node node;
};

/* Asserts the order, forwards and backwards. */
static void is(const struct lli_list *list, const char *expected)
{
    char forwards[16] = "", backwards[16] = "";
    size_t size = 0;
    for (struct lli_node *n = lli_list_first(list); n; n = lli_list_next(list, n))
        forwards[size++] = (char)('0' + LLI_CONTAINER_OF(n, struct item, node)->number);
    struct lli_node *n = lli_list_last(list);
    for (size_t i = size; i > 0; i--, n = n->prev)
        backwards[i - 1] = (char)('0' + LLI_CONTAINER_OF(n, struct item, node)->number);
    T_SAME_TEXT(forwards, expected);
    T_SAME_TEXT(backwards, expected);
}

static void keeps_order(void **state)
{
    (void)state;
    struct item items[6];
    struct lli_list list;
    lli_list_init(&list);
    T_CHECK(lli_list_empty(&list) && !lli_list_first(&list) && !lli_list_last(&list));
    T_CHECK(lli_list_pop(&list) == NULL);
    for (int i = 0; i < 6; i++)
        items[i] = (struct item){.number = i};
    lli_list_push(&list, &items[1].node);
    lli_list_push(&list, &items[2].node);
    lli_list_push_front(&list, &items[0].node);
    lli_list_insert_after(&items[1].node, &items[5].node);
    is(&list, "0152");
    lli_list_remove(&items[5].node);
    T_CHECK(!lli_node_linked(&items[5].node) && lli_node_linked(&items[1].node));
    is(&list, "012");
    lli_list_push(&list, &items[5].node); /* and in again */
    is(&list, "0125");
    T_CHECK(lli_list_pop(&list) == &items[0].node && !lli_node_linked(&items[0].node));
    lli_list_remove(&items[5].node); /* the last */
    is(&list, "12");
    lli_list_pop(&list);
    lli_list_pop(&list);
    T_CHECK(lli_list_empty(&list) && lli_list_pop(&list) == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(keeps_order),
    };
    return T_RUN(tests);
}
