/* list.h: intrusive doubly linked lists: the node lies in the element, so linking cannot fail. */
#ifndef LLI_BASE_LIST_H
#define LLI_BASE_LIST_H

#include "base/defs.h"

struct lli_node {
    struct lli_node *next, *prev; /* both NULL while in no list */
};

struct lli_list {
    struct lli_node head;
};

static inline void lli_list_init(struct lli_list *list)
{
    list->head.next = list->head.prev = &list->head;
}

static inline bool lli_list_empty(const struct lli_list *list)
{
    return list->head.next == &list->head;
}

static inline bool lli_node_linked(const struct lli_node *node)
{
    return node->next != NULL;
}

static inline void lli_list_insert_after(struct lli_node *at, struct lli_node *node)
{
    assert(!lli_node_linked(node));
    node->prev = at;
    node->next = at->next;
    at->next->prev = node;
    at->next = node;
}

static inline void lli_list_push(struct lli_list *list, struct lli_node *node)
{
    lli_list_insert_after(list->head.prev, node);
}

static inline void lli_list_push_front(struct lli_list *list, struct lli_node *node)
{
    lli_list_insert_after(&list->head, node);
}

static inline void lli_list_remove(struct lli_node *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}

static inline struct lli_node *lli_list_first(const struct lli_list *list)
{
    return lli_list_empty(list) ? NULL : list->head.next;
}

static inline struct lli_node *lli_list_last(const struct lli_list *list)
{
    return lli_list_empty(list) ? NULL : list->head.prev;
}

/* Takes the first element out, NULL if there is none. */
static inline struct lli_node *lli_list_pop(struct lli_list *list)
{
    struct lli_node *node = lli_list_first(list);
    if (node)
        lli_list_remove(node);
    return node;
}

/* The next element after `node`, NULL at the end. */
static inline struct lli_node *lli_list_next(const struct lli_list *list,
                                             const struct lli_node *node)
{
    return node->next == &list->head ? NULL : node->next;
}

/* The element before `node`, NULL at the beginning. */
static inline struct lli_node *lli_list_previous(const struct lli_list *list,
                                                 const struct lli_node *node)
{
    return node->prev == &list->head ? NULL : node->prev;
}

#endif
