#include "agent/host/loop_queue.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/xalloc.h"

struct loop_queue {
    uv_async_t wake;
    pthread_mutex_t lock;
    struct loop_queue_item *first;
    struct loop_queue_item **last;
};

static struct loop_queue_item *take_all(struct loop_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    struct loop_queue_item *items = queue->first;
    queue->first = NULL;
    queue->last = &queue->first;
    pthread_mutex_unlock(&queue->lock);
    return items;
}

static void run_all(struct loop_queue *queue)
{
    struct loop_queue_item *item = take_all(queue);
    while (item != NULL) {
        struct loop_queue_item *next = item->next;
        item->run(item);
        item = next;
    }
}

static void on_wake(uv_async_t *wake)
{
    run_all(wake->data);
}

struct loop_queue *loop_queue_create(uv_loop_t *loop)
{
    struct loop_queue *queue = xcalloc(1, sizeof *queue);
    pthread_mutex_init(&queue->lock, NULL);
    queue->last = &queue->first;
    uv_async_init(loop, &queue->wake, on_wake);
    queue->wake.data = queue;
    return queue;
}

void loop_queue_post(struct loop_queue *queue, struct loop_queue_item *item)
{
    item->next = NULL;
    pthread_mutex_lock(&queue->lock);
    *queue->last = item;
    queue->last = &item->next;
    pthread_mutex_unlock(&queue->lock);
    uv_async_send(&queue->wake);
}

static void on_closed(uv_handle_t *handle)
{
    struct loop_queue *queue = handle->data;
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

void loop_queue_destroy(struct loop_queue *queue)
{
    if (queue == NULL)
        return;
    run_all(queue);
    uv_close((uv_handle_t *)&queue->wake, on_closed);
}
