#include "agent/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

static int make_folder(const char *parent, const char *name, uid_t user, gid_t group, mode_t mode,
                       struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s", parent, name);
    if (file_make_directory(path, mode, error) < 0)
        return -1;
    if (chown(path, user, group) < 0 || chmod(path, mode) < 0)
        return error_set_errno(error, errno, "folder %s", path);
    return 0;
}

int privileges_make_folders(const struct agent_options *options, struct error *error)
{
    if (file_make_directory(options->state, 0711, error) < 0 ||
        file_make_directory(options->run, 0711, error) < 0)
        return -1;
    const char *state = options->state;
    if (make_folder(state, AGENT_STAGING_FOLDER, DECIDER_ID, DECIDER_ID, 0700, error) < 0 ||
        make_folder(state, AGENT_CHAINS_FOLDER, DECIDER_ID, DECIDER_ID, 0700, error) < 0 ||
        make_folder(state, AGENT_DECISIONS_FOLDER, DECIDER_ID, DECIDER_ID, 0700, error) < 0)
        return -1;
    /* Files in it get the group, so the deciding half can read them and nobody else. */
    return make_folder(state, AGENT_CONSOLES_FOLDER, 0, DECIDER_ID, 02750, error);
}

static int refuse_second(const char *path, int descriptor, struct error *error)
{
    char pid[32] = "";
    ssize_t length = read(descriptor, pid, sizeof pid - 1);
    pid[length > 0 ? length : 0] = '\0';
    pid[strcspn(pid, "\n")] = '\0';
    return error_set(error, ERROR_CONFLICT,
                     "an agent with this state folder runs already, pid %s (%s): stop it first or "
                     "use another --state",
                     pid, path);
}

int privileges_lock(const struct agent_options *options, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/agent.lock", options->state);
    AUTO_CLOSE int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (descriptor < 0)
        return error_set_errno(error, errno, "lock %s", path);
    if (flock(descriptor, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? refuse_second(path, descriptor, error)
                                    : error_set_errno(error, errno, "lock %s", path);
    char pid[32];
    int length = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(descriptor, 0) < 0 || file_write_all(descriptor, pid, (size_t)length, error) < 0)
        return error_set_errno(error, errno, "lock %s", path);
    (void)TAKE_DESCRIPTOR(descriptor);
    return 0;
}

int privileges_claim_state(const struct agent_options *options, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/node", options->state);
    AUTO_FREE char *name = NULL;
    AUTO_FREE char *line = xasprintf("%s\n", options->node);
    struct error reason = ERROR_INIT;
    if (file_read(path, NAME_MAX_TEXT, &name, NULL, &reason) < 0) {
        if (reason.code != ERROR_NOT_FOUND)
            return error_copy(error, &reason);
        return file_write(path, line, strlen(line), 0644, error);
    }
    name[strcspn(name, "\n")] = '\0';
    if (strcmp(name, options->node) == 0)
        return 0;
    return error_set(error, ERROR_CONFLICT,
                     "the state folder %s is node %s's, with its guests, volumes and what it was "
                     "told: start this node with --node %s, or node %s with another --state",
                     options->state, name, name, options->node);
}

static char *decider_folder(const struct agent_options *options)
{
    return xasprintf("%s/decider", options->run);
}

void privileges_clean(const struct agent_options *options)
{
    AUTO_FREE char *folder = decider_folder(options);
    rmdir(folder);
    rmdir(options->run);
}

static int bind_state(const struct agent_options *options, const char *target, struct error *error)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_set_errno(error, errno, "a mount namespace for the deciding half");
    if (mount(options->state, target, NULL, MS_BIND, NULL) < 0)
        return error_set_errno(error, errno, "bind %s to %s", options->state, target);
    return 0;
}

/* A change of user makes a process undumpable, and its /proc folder root's, by which the host half
 * would not know its group. */
static int become_unprivileged(struct error *error)
{
    if (setgroups(0, NULL) < 0 || setresgid(DECIDER_ID, DECIDER_ID, DECIDER_ID) < 0 ||
        setresuid(DECIDER_ID, DECIDER_ID, DECIDER_ID) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
        return error_set_errno(error, errno, "become user %d", DECIDER_ID);
    if (setuid(0) == 0)
        return error_set(error, ERROR_INTERNAL, "user %d can still become root", DECIDER_ID);
    return 0;
}

int privileges_drop(const struct agent_options *options, char **ret_state, struct error *error)
{
    pid_t parent = getppid();
    AUTO_FREE char *target = decider_folder(options);
    if (file_make_directory(target, 0711, error) < 0 || bind_state(options, target, error) < 0 ||
        become_unprivileged(error) < 0)
        return -1;
    /* A change of user clears it, so it comes last; the parent may be gone already. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return error_set_errno(error, errno, "end with the host half");
    if (getppid() != parent || parent == 1)
        return error_set(error, ERROR_UNAVAILABLE, "the host half is gone");
    *ret_state = TAKE_POINTER(target);
    return 0;
}
