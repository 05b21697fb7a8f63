/* Lets other threads hand work to the loop thread. Posting never blocks for long; the loop runs
 * what was posted in order. */
#pragma once

#include <uv.h>

struct loop_queue;

struct loop_queue_item {
    void (*run)(struct loop_queue_item *item); /* on the loop thread; owns the item from then on */
    struct loop_queue_item *next;
};

struct loop_queue *loop_queue_create(uv_loop_t *loop);
/* Any thread. `item` belongs to the queue until its `run` is called. */
void loop_queue_post(struct loop_queue *queue, struct loop_queue_item *item);
/* Loop thread. Runs what is still there; nobody may post any more. The memory is freed once the
 * loop has closed its handle. */
void loop_queue_destroy(struct loop_queue *queue);
