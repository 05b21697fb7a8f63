#include "tests/fake/hypervisor_fake.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/xalloc.h"

struct microvm {
    LIST_ENTRY(microvm) link;
    struct microvm_identity identity;
    char *volume; /* the first, or NULL */
    pid_t pid;
    bool is_process;
    int listener; /* the console's socket, or -1 */
    int console;  /* what connected to it, or -1 */
    bool has_begun;
    bool runs;
    bool obeys_power;
    bool is_debugged;
};

struct hypervisor_fake {
    pthread_mutex_t lock;
    LIST_HEAD(, microvm) microvms;
    struct fake *open; /* NULL: nobody listens */
    unsigned refusals[FAKE_CALLS];
    void (*before)(void *context, enum hypervisor_fake_call call, const char *id);
    void *context;
    bool obey_power;
    bool is_light;
    pid_t last_pid; /* of one that is no process */
    size_t clashes, shared_volumes;
    int life[2]; /* a pipe that nobody writes to */
};

struct fake {
    struct hypervisor hypervisor;
    struct hypervisor_listener listener;
    struct hypervisor_fake *world;
};

static struct hypervisor_fake *world_of(struct hypervisor *hypervisor)
{
    return ((struct fake *)hypervisor)->world;
}

static void forbid(const char *what, const char *id)
{
    fprintf(stderr, "hypervisor_fake: %s: %s\n", id, what);
    abort();
}

/* Both begin and end a call: the lock is held in between, but not while the test's hook runs. */
static int begin(struct hypervisor_fake *world, enum hypervisor_fake_call call, const char *id,
                 struct error *error)
{
    if (world->before != NULL)
        world->before(world->context, call, id);
    pthread_mutex_lock(&world->lock);
    if (world->refusals[call] == 0)
        return 0;
    world->refusals[call]--;
    pthread_mutex_unlock(&world->lock);
    return error_set(error, ERROR_IO, "refused by the test");
}

static int finish(struct hypervisor_fake *world, int result)
{
    pthread_mutex_unlock(&world->lock);
    return result;
}

static struct microvm *find(struct hypervisor_fake *world, const char *id)
{
    struct microvm *microvm;
    LIST_FOREACH(microvm, &world->microvms, link)
    {
        if (strcmp(microvm->identity.id, id) == 0)
            return microvm;
    }
    return NULL;
}

/* ---- a microVM ---- */

/* It ends with the test at the latest, and holds nothing open that is the test's. */
static pid_t start_process(const struct hypervisor_fake *world)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    char byte;
    dup2(world->life[0], 0);
    close_range(1, ~0U, 0);
    while (read(0, &byte, 1) < 0)
        ;
    _exit(0);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (bind(listener, (const struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, 4) < 0)
        forbid("its console cannot listen", path);
    return listener;
}

static void remove_microvm(struct microvm *microvm)
{
    LIST_REMOVE(microvm, link);
    if (microvm->is_process) {
        kill(microvm->pid, SIGKILL);
        waitpid(microvm->pid, NULL, 0);
    }
    if (microvm->listener >= 0)
        close(microvm->listener);
    if (microvm->console >= 0)
        close(microvm->console);
    free(microvm->volume);
    free(microvm);
}

/* The last that connected. */
static bool accept_console(struct microvm *microvm)
{
    int next;
    while (microvm->listener >= 0 &&
           (next = accept4(microvm->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        if (microvm->console >= 0)
            close(microvm->console);
        microvm->console = next;
    }
    return microvm->console >= 0;
}

/* With the lock held, which is given up while the listener is told. */
static bool end(struct hypervisor_fake *world, const char *id, enum hypervisor_end how)
{
    struct microvm *microvm = find(world, id);
    if (microvm == NULL)
        return false;
    char name[INSTANCE_ID_MAX];
    memcpy(name, microvm->identity.id, sizeof name);
    remove_microvm(microvm);
    if (world->open != NULL) {
        struct hypervisor_listener listener = world->open->listener;
        pthread_mutex_unlock(&world->lock);
        listener.ended(listener.context, name, how);
        pthread_mutex_lock(&world->lock);
    }
    return true;
}

/* ---- the hypervisor ---- */

static bool shares_volume(const struct hypervisor_fake *world, const struct microvm_spec *spec)
{
    const struct microvm *microvm;
    LIST_FOREACH(microvm, &world->microvms, link)
    {
        if (spec->volume_count > 0 && microvm->volume != NULL &&
            strcmp(microvm->volume, spec->volumes[0].path) == 0)
            return true;
    }
    return false;
}

static int create(struct hypervisor *hypervisor, const struct microvm_spec *spec, pid_t *ret_pid,
                  struct error *error)
{
    struct hypervisor_fake *world = world_of(hypervisor);
    if (begin(world, FAKE_CREATE, spec->id, error) < 0)
        return -1;
    bool is_there = find(world, spec->id) != NULL, shares = shares_volume(world, spec);
    if (is_there || shares) {
        world->clashes += is_there;
        world->shared_volumes += shares;
        return finish(world,
                      error_set(error, ERROR_CONFLICT, "%s or its volume is in use", spec->id));
    }
    struct microvm *microvm = xcalloc(1, sizeof *microvm);
    memcpy(microvm->identity.id, spec->id, sizeof microvm->identity.id);
    memcpy(microvm->identity.kernel, spec->kernel, sizeof microvm->identity.kernel);
    memcpy(microvm->identity.image, spec->image, sizeof microvm->identity.image);
    memcpy(microvm->identity.address, spec->address, sizeof microvm->identity.address);
    memcpy(microvm->identity.family, spec->family, sizeof microvm->identity.family);
    microvm->obeys_power = world->obey_power;
    microvm->volume = spec->volume_count > 0 ? xstrdup(spec->volumes[0].path) : NULL;
    microvm->console = -1;
    microvm->is_process = !world->is_light;
    microvm->listener = world->is_light ? -1 : listen_at(spec->console_path);
    microvm->pid = world->is_light ? ++world->last_pid : start_process(world);
    LIST_INSERT_HEAD(&world->microvms, microvm, link);
    *ret_pid = microvm->pid;
    return finish(world, 0);
}

static int resume(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct hypervisor_fake *world = world_of(hypervisor);
    if (begin(world, FAKE_RESUME, id, error) < 0)
        return -1;
    struct microvm *microvm = find(world, id);
    if (microvm == NULL)
        return finish(world, error_set(error, ERROR_NOT_FOUND, "there is no microVM %s", id));
    microvm->runs = microvm->has_begun = true;
    return finish(world, 0);
}

static int pause_guest(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct hypervisor_fake *world = world_of(hypervisor);
    if (begin(world, FAKE_PAUSE, id, error) < 0)
        return -1;
    struct microvm *microvm = find(world, id);
    if (microvm == NULL || !microvm->runs)
        return finish(world, error_set(error, ERROR_CONFLICT, "microVM %s does not run", id));
    microvm->runs = false;
    return finish(world, 0);
}

static int press_power(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct hypervisor_fake *world = world_of(hypervisor);
    if (begin(world, FAKE_PRESS_POWER, id, error) < 0)
        return -1;
    struct microvm *microvm = find(world, id);
    if (microvm == NULL)
        return finish(world, error_set(error, ERROR_NOT_FOUND, "there is no microVM %s", id));
    if (microvm->obeys_power)
        end(world, id, HYPERVISOR_END_EXIT);
    return finish(world, 0);
}

static int destroy(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct hypervisor_fake *world = world_of(hypervisor);
    if (begin(world, FAKE_DESTROY, id, error) < 0)
        return -1;
    end(world, id, HYPERVISOR_END_STOP);
    return finish(world, 0);
}

static int await_gone(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct hypervisor_fake *world = world_of(hypervisor);
    if (begin(world, FAKE_AWAIT_GONE, id, error) < 0)
        return -1;
    if (find(world, id) == NULL)
        return finish(world, 0);
    return finish(world, error_set(error, ERROR_TIMEOUT, "the microVM %s is still there", id));
}

/* As QEMU's stub, it lets the guest go when it is told to detach. */
static int debug(struct hypervisor *hypervisor, const char *id, int descriptor, bool listens,
                 struct error *error)
{
    static const char detached[] = "+$OK#9a";
    struct hypervisor_fake *world = world_of(hypervisor);
    if (begin(world, FAKE_DEBUG, id, error) < 0)
        return -1;
    struct microvm *microvm = find(world, id);
    if (microvm == NULL)
        return finish(world, error_set(error, ERROR_NOT_FOUND, "there is no microVM %s", id));
    microvm->is_debugged = descriptor >= 0;
    if (descriptor >= 0 && !listens) {
        microvm->runs = true;
        send(descriptor, detached, sizeof detached - 1, MSG_NOSIGNAL);
    }
    return finish(world, 0);
}

/* What was made and never begun is half made. */
static int adopt(struct hypervisor *hypervisor, struct hypervisor_found **ret_found,
                 size_t *ret_count, struct error *error)
{
    struct hypervisor_fake *world = world_of(hypervisor);
    struct microvm *microvm, *next;
    size_t count = 0;
    if (begin(world, FAKE_ADOPT, "", error) < 0)
        return -1;
    for (microvm = LIST_FIRST(&world->microvms); microvm != NULL; microvm = next) {
        next = LIST_NEXT(microvm, link);
        if (microvm->has_begun)
            count++;
        else
            remove_microvm(microvm);
    }
    struct hypervisor_found *found = xcalloc(count + 1, sizeof *found);
    count = 0;
    LIST_FOREACH(microvm, &world->microvms, link)
    {
        found[count].identity = microvm->identity;
        found[count].pid = microvm->pid;
        found[count].paused = !microvm->runs;
        found[count++].uptime_ms = 60000;
    }
    *ret_found = found;
    *ret_count = count;
    return finish(world, 0);
}

static void close_fake(struct hypervisor *hypervisor)
{
    struct hypervisor_fake *world = world_of(hypervisor);
    pthread_mutex_lock(&world->lock);
    world->open = NULL;
    pthread_mutex_unlock(&world->lock);
    free(hypervisor);
}

static const struct hypervisor_operations operations = {
    .create = create,
    .resume = resume,
    .pause = pause_guest,
    .press_power = press_power,
    .destroy = destroy,
    .await_gone = await_gone,
    .adopt = adopt,
    .debug = debug,
    .close = close_fake,
};

struct hypervisor *hypervisor_fake_open(struct hypervisor_fake *world,
                                        const struct hypervisor_listener *listener)
{
    if (world->open != NULL)
        forbid("opened twice", "the world");
    struct fake *fake = xcalloc(1, sizeof *fake);
    fake->hypervisor.operations = &operations;
    fake->listener = *listener;
    fake->world = world;
    world->open = fake;
    return &fake->hypervisor;
}

/* ---- what the test orders ---- */

struct hypervisor_fake *hypervisor_fake_create(void)
{
    struct hypervisor_fake *world = xcalloc(1, sizeof *world);
    pthread_mutex_init(&world->lock, NULL);
    LIST_INIT(&world->microvms);
    if (pipe2(world->life, O_CLOEXEC) < 0)
        abort();
    return world;
}

void hypervisor_fake_destroy(struct hypervisor_fake *world)
{
    while (!LIST_EMPTY(&world->microvms))
        remove_microvm(LIST_FIRST(&world->microvms));
    pthread_mutex_destroy(&world->lock);
    close(world->life[0]);
    close(world->life[1]);
    free(world);
}

void hypervisor_fake_be_light(struct hypervisor_fake *world)
{
    world->is_light = true;
}

void hypervisor_fake_refuse(struct hypervisor_fake *world, enum hypervisor_fake_call call,
                            unsigned count)
{
    pthread_mutex_lock(&world->lock);
    world->refusals[call] = count;
    pthread_mutex_unlock(&world->lock);
}

void hypervisor_fake_before(struct hypervisor_fake *world,
                            void (*before)(void *context, enum hypervisor_fake_call call,
                                           const char *id),
                            void *context)
{
    world->before = before;
    world->context = context;
}

void hypervisor_fake_obey_power(struct hypervisor_fake *world, bool obey)
{
    world->obey_power = obey;
}

bool hypervisor_fake_end(struct hypervisor_fake *world, const char *id, enum hypervisor_end how)
{
    pthread_mutex_lock(&world->lock);
    bool was_there = end(world, id, how);
    pthread_mutex_unlock(&world->lock);
    return was_there;
}

bool hypervisor_fake_lose(struct hypervisor_fake *world, const char *id)
{
    pthread_mutex_lock(&world->lock);
    struct microvm *microvm = find(world, id);
    if (microvm != NULL)
        remove_microvm(microvm);
    pthread_mutex_unlock(&world->lock);
    return microvm != NULL;
}

bool hypervisor_fake_is_there(struct hypervisor_fake *world, const char *id)
{
    pthread_mutex_lock(&world->lock);
    bool is_there = find(world, id) != NULL;
    pthread_mutex_unlock(&world->lock);
    return is_there;
}

bool hypervisor_fake_is_debugged(struct hypervisor_fake *world, const char *id)
{
    pthread_mutex_lock(&world->lock);
    const struct microvm *microvm = find(world, id);
    bool is_debugged = microvm != NULL && microvm->is_debugged;
    pthread_mutex_unlock(&world->lock);
    return is_debugged;
}

pid_t hypervisor_fake_pid(struct hypervisor_fake *world, const char *id)
{
    pthread_mutex_lock(&world->lock);
    const struct microvm *microvm = find(world, id);
    pid_t pid = microvm != NULL ? microvm->pid : -1;
    pthread_mutex_unlock(&world->lock);
    return pid;
}

bool hypervisor_fake_say(struct hypervisor_fake *world, const char *id, const char *text)
{
    pthread_mutex_lock(&world->lock);
    struct microvm *microvm = find(world, id);
    bool said = microvm != NULL && accept_console(microvm) &&
                send(microvm->console, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
    pthread_mutex_unlock(&world->lock);
    return said;
}

int hypervisor_fake_hear(struct hypervisor_fake *world, const char *id)
{
    unsigned char byte;
    pthread_mutex_lock(&world->lock);
    struct microvm *microvm = find(world, id);
    bool heard = microvm != NULL && accept_console(microvm) &&
                 recv(microvm->console, &byte, 1, MSG_DONTWAIT) == 1;
    pthread_mutex_unlock(&world->lock);
    return heard ? byte : -1;
}

static size_t count(struct hypervisor_fake *world, bool only_running)
{
    const struct microvm *microvm;
    size_t found = 0;
    pthread_mutex_lock(&world->lock);
    LIST_FOREACH(microvm, &world->microvms, link)
    {
        found += microvm->runs || !only_running;
    }
    pthread_mutex_unlock(&world->lock);
    return found;
}

size_t hypervisor_fake_count(struct hypervisor_fake *world)
{
    return count(world, false);
}

size_t hypervisor_fake_count_running(struct hypervisor_fake *world)
{
    return count(world, true);
}

size_t hypervisor_fake_count_clashes(const struct hypervisor_fake *world)
{
    return world->clashes;
}

size_t hypervisor_fake_count_shared_volumes(const struct hypervisor_fake *world)
{
    return world->shared_volumes;
}

bool hypervisor_fake_runs(struct hypervisor_fake *world, const char *id)
{
    pthread_mutex_lock(&world->lock);
    const struct microvm *microvm = find(world, id);
    bool runs = microvm != NULL && microvm->runs;
    pthread_mutex_unlock(&world->lock);
    return runs;
}

bool hypervisor_fake_has_begun(struct hypervisor_fake *world, const char *id)
{
    pthread_mutex_lock(&world->lock);
    const struct microvm *microvm = find(world, id);
    bool has_begun = microvm != NULL && microvm->has_begun;
    pthread_mutex_unlock(&world->lock);
    return has_begun;
}
