#include "agent/host/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "lib/xalloc.h"

struct worker {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct worker_job *first;
    struct worker_job **last;
    bool stopping;
    void (*prepare)(void);
    struct loop_queue *queue;
    pthread_t *threads;
    size_t thread_count;
};

static void on_done(struct loop_queue_item *item)
{
    struct worker_job *job = (struct worker_job *)item;
    job->done(job);
}

static struct worker_job *take(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    while (worker->first == NULL && !worker->stopping)
        pthread_cond_wait(&worker->changed, &worker->lock);
    struct worker_job *job = worker->stopping ? NULL : worker->first;
    if (job != NULL) {
        worker->first = job->next;
        if (worker->first == NULL)
            worker->last = &worker->first;
    }
    pthread_mutex_unlock(&worker->lock);
    return job;
}

static void *work(void *context)
{
    struct worker *worker = context;
    if (worker->prepare != NULL)
        worker->prepare();
    struct worker_job *job;
    while ((job = take(worker)) != NULL) {
        job->run(job);
        job->item.run = on_done;
        loop_queue_post(worker->queue, &job->item);
    }
    return NULL;
}

struct worker *worker_create(struct loop_queue *queue, size_t threads, void (*prepare)(void))
{
    struct worker *worker = xcalloc(1, sizeof *worker);
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->changed, NULL);
    worker->last = &worker->first;
    worker->queue = queue;
    worker->prepare = prepare;
    worker->threads = xcalloc(threads, sizeof *worker->threads);
    worker->thread_count = threads;
    /* Signals are the loop thread's. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (size_t i = 0; i < threads; i++) {
        if (pthread_create(&worker->threads[i], NULL, work, worker) != 0)
            abort();
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return worker;
}

void worker_submit(struct worker *worker, struct worker_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&worker->lock);
    if (worker->stopping) {
        pthread_mutex_unlock(&worker->lock);
        job->done(job);
        return;
    }
    *worker->last = job;
    worker->last = &job->next;
    pthread_cond_signal(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
}

void worker_stop(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    worker->stopping = true;
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
    for (size_t i = 0; i < worker->thread_count; i++)
        pthread_join(worker->threads[i], NULL);
    for (struct worker_job *job = worker->first, *next; job != NULL; job = next) {
        next = job->next;
        job->done(job);
    }
}

void worker_destroy(struct worker *worker)
{
    if (worker == NULL)
        return;
    pthread_cond_destroy(&worker->changed);
    pthread_mutex_destroy(&worker->lock);
    free(worker->threads);
    free(worker);
}
