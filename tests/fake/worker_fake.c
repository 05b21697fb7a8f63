#include "tests/fake/worker_fake.h"

#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

#define THREADS_MAX 8

struct worker {
    size_t threads;
    void (*post)(void *context, struct worker_job *job);
    void *context;
    struct worker_job *first;
    struct worker_job **last;
    struct worker_job *run[THREADS_MAX];
    size_t run_count;
    bool stopped;
};

struct worker *worker_fake_create(size_t threads,
                                  void (*post)(void *context, struct worker_job *job),
                                  void *context)
{
    struct worker *worker = xcalloc(1, sizeof *worker);
    worker->threads = threads < THREADS_MAX ? threads : THREADS_MAX;
    worker->post = post;
    worker->context = context;
    worker->last = &worker->first;
    return worker;
}

void worker_submit(struct worker *worker, struct worker_job *job)
{
    job->next = NULL;
    if (worker->stopped) {
        job->done(job);
        return;
    }
    *worker->last = job;
    worker->last = &job->next;
}

size_t worker_fake_count_waiting(const struct worker *worker)
{
    size_t count = 0, free_threads = worker->threads - worker->run_count;
    for (const struct worker_job *job = worker->first; job != NULL && count < free_threads;
         job = job->next)
        count++;
    return count;
}

size_t worker_fake_count_run(const struct worker *worker)
{
    return worker->run_count;
}

void worker_fake_run(struct worker *worker)
{
    struct worker_job *job = worker->first;
    worker->first = job->next;
    if (worker->first == NULL)
        worker->last = &worker->first;
    worker->run[worker->run_count++] = job;
    job->run(job);
}

void worker_fake_post(struct worker *worker, size_t index)
{
    struct worker_job *job = worker->run[index];
    worker->run_count--;
    memmove(&worker->run[index], &worker->run[index + 1],
            (worker->run_count - index) * sizeof(struct worker_job *));
    worker->post(worker->context, job);
}

void worker_stop(struct worker *worker)
{
    worker->stopped = true;
    while (worker->run_count > 0)
        worker_fake_post(worker, 0);
    for (struct worker_job *job = worker->first, *next; job != NULL; job = next) {
        next = job->next;
        job->done(job);
    }
    worker->first = NULL;
}

void worker_destroy(struct worker *worker)
{
    free(worker);
}
