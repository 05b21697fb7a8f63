/* The nodes in an order in which the best place is found without looking at all of them.
 *
 * Nodes that are alike in machines, labels and features are a class: what is asked of these is
 * checked once a class. The nodes of a class are the leaves of a tree whose inner nodes know the
 * most room and the fewest points below them: a search leaves out what cannot hold a better place.
 * It finds the very node that looking at all would, and nothing it leaves out could take the
 * instance: only placement_check says no.
 *
 * Owned by the model; loop thread only. Knows no model. */
#pragma once

#include "scheduler/placement.h"

struct placement_class;

/* A node's place in the index; in the memory of who owns the node. */
struct placement_entry {
    struct placement_node node;    /* how it is; the owner fills it and says so */
    struct placement_class *class; /* NULL: not in the index */
    size_t leaf;
    bool is_blocked;  /* the running search cannot use it */
    bool is_adjusted; /* the running search has counts or likings of its own for it */
};

struct placement_index {
    struct placement_class **classes;
    size_t class_count;
};

void placement_index_finish(struct placement_index *index);
/* `entry->node` is new, or other in what its class is about. */
void placement_index_put(struct placement_index *index, struct placement_entry *entry);
/* `entry->node` changed in anything else. */
void placement_index_refresh(struct placement_entry *entry);
/* Does nothing for one that is not in it. Not while something is searched. */
void placement_index_remove(struct placement_index *index, struct placement_entry *entry);

/* Places for one request, one after the other; one search at a time. */
struct placement_search {
    const struct placement_request *request;
    struct placement_choice {
        struct placement_class *class;
        struct placement_verdict verdict;
        int64_t points; /* of what its nodes are */
    } * choices;        /* the classes that can */
    size_t choice_count;
    struct placement_counts counts;   /* with spread: label, of every value that there is */
    struct placement_entry **touched; /* adjusted or blocked: set back at the end */
    size_t touched_count, touched_capacity;
};

/* The request lives as long as the search. */
void placement_search_begin(struct placement_search *search, struct placement_index *index,
                            const struct placement_request *request);
/* The service has one more instance there, in the index. */
void placement_search_count(struct placement_search *search, struct placement_entry *entry);
/* Points off for it, or below 0 on top of it. */
void placement_search_like(struct placement_search *search, struct placement_entry *entry,
                           int32_t points);
/* The best place, and the platform that boots there; NULL when there is none. */
struct placement_entry *placement_search_best(struct placement_search *search, size_t *ret_platform,
                                              int64_t *ret_points);
/* What a place in the index costs, for one that can take it. */
int64_t placement_search_points(const struct placement_search *search,
                                const struct placement_entry *entry,
                                const struct placement_verdict *verdict);
void placement_search_end(struct placement_search *search);
