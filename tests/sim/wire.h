/* Calls from agents to the scheduler, on wires that delay, lose, repeat and reorder them. */
#pragma once

#include "scheduler/publication.h"
#include "tests/sim/world.h"

struct node;
struct call;

struct wire_answer {
    bool failed;                        /* nobody answered, or the way back was cut */
    enum error_code code;               /* ERROR_NONE: 200 or 204 */
    bool compacted;                     /* 410 */
    const struct api_join_answer *join; /* of a join */
    bool whole;                         /* of a status: all there is has to be sent */
    const char *text;                   /* a document of a poll; NULL: none came */
};

typedef void wire_callback(const struct wire_answer *answer, void *data);

/* Each takes what it is handed and calls back once, unless it is given up before. */
struct call *wire_join(struct node *node, struct api_join *join, wire_callback *callback,
                       void *data);
struct call *wire_status(struct node *node, struct api_status *status, wire_callback *callback,
                         void *data);
struct call *wire_poll(struct node *node, enum publication_kind kind, bool has_after,
                       uint64_t after, wire_callback *callback, void *data);
/* NULL inside is fine, and is left behind. What is on its way arrives all the same. */
void wire_give_up(struct call **call);
