#include "agent/host/accelerator.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/host/domain_xml.h"
#include "agent/host/guest_user.h"
#include "agent/host/mounts.h"
#include "agent/host/probe_guest.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/xalloc.h"

#define KVM_DEVICE        "/dev/kvm"
#define PROBE_DEADLINE_MS 3000
#define NOT_STARTED       127 /* the exit code where no QEMU began */
#define BOOT_ID_MAX       37
#define RECORD_MAX        4096
/* After a probe that proved nothing, but for the first. */
#define ASK_AGAIN_MS      UINT64_C(60000)
#define ASK_AGAIN_MOST_MS UINT64_C(3600000)

/* In the child: nothing was learnt of the accelerator. */
static _Noreturn void give_up(const char *message)
{
    ssize_t ignored = write(STDERR_FILENO, message, strlen(message));
    (void)ignored;
    _exit(NOT_STARTED);
}

static void execute_probe(const char *accelerator, const char *kernel, int output, uid_t uid,
                          gid_t gid)
{
    char machine[128];
    snprintf(machine, sizeof machine, "microvm,accel=%s,acpi=off,pit=off,pic=off,rtc=off",
             accelerator);
    if (dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0 ||
        setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        give_up("the probe's user cannot be taken on");
    execl(DOMAIN_EMULATOR_AMD64, "qemu-system-x86_64", "-M", machine, "-cpu", "max", "-m", "16",
          "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-kernel", kernel,
          "-device", "isa-debug-exit,iobase=0xf4,iosize=1", (char *)NULL);
    give_up("qemu-system-x86_64 cannot be started");
}

/* The wait status, or -1 when the deadline passed and the process was killed. */
static int await(pid_t pid)
{
    uint64_t deadline = clock_monotonic_ms(clock_system()) + PROBE_DEADLINE_MS;
    int status;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (clock_monotonic_ms(clock_system()) >= deadline) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return -1;
        }
        nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
    }
    return status;
}

/* Signals that QEMU brings on itself, where KVM does something that it does not expect. */
static bool is_own_fault(int number)
{
    return number == SIGABRT || number == SIGSEGV || number == SIGBUS || number == SIGILL ||
           number == SIGFPE || number == SIGTRAP;
}

int accelerator_judge(int status, const char *text, struct error *error)
{
    if (status < 0)
        return error_set(error, ERROR_TIMEOUT, "a probe guest did not end within %d s",
                         PROBE_DEADLINE_MS / 1000);
    if (WIFSIGNALED(status))
        return error_set(error, is_own_fault(WTERMSIG(status)) ? ERROR_UNAVAILABLE : ERROR_IO,
                         "QEMU died of signal %d under a probe guest%s%s", WTERMSIG(status),
                         text[0] != '\0' ? ": " : "", text);
    if (WEXITSTATUS(status) == PROBE_GUEST_EXIT)
        return 0;
    return error_set(error,
                     WEXITSTATUS(status) == NOT_STARTED ? ERROR_NOT_FOUND : ERROR_UNAVAILABLE,
                     "a probe guest did not run%s%s", text[0] != '\0' ? ": " : "", text);
}

/* The first line that QEMU wrote. */
static void read_word(int output, char *ret_text, size_t size)
{
    ssize_t got = read(output, ret_text, size - 1);
    ret_text[got > 0 ? got : 0] = '\0';
    ret_text[strcspn(ret_text, "\r\n")] = '\0';
}

int accelerator_probe(const char *accelerator, const char *run_directory, uid_t uid, gid_t gid,
                      struct error *error)
{
    const void *image;
    size_t length = probe_guest_image(&image);
    if (length == 0)
        return error_set(error, ERROR_UNAVAILABLE, "there is no probe guest for this processor");
    AUTO_FREE char *kernel = xasprintf("%s/probe.elf", run_directory);
    if (file_write(kernel, image, length, 0444, error) < 0)
        return -1;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_set_errno(error, errno, "probe guest: pipe");
    pid_t pid = fork();
    if (pid == 0)
        execute_probe(accelerator, kernel, ends[1], uid, gid);
    int result;
    if (pid < 0) {
        result = error_set_errno(error, errno, "probe guest: fork");
    } else {
        char text[256];
        int status = await(pid);
        read_word(ends[0], text, sizeof text);
        result = accelerator_judge(status, text, error);
    }
    close(ends[0]);
    close(ends[1]);
    unlink(kernel);
    return result;
}

/* ---- what is kept ---- */

struct record {
    char boot[BOOT_ID_MAX];
    struct accelerator known;
};

static const struct json_field record_fields[] = {
    JSON_FIELD(struct record, boot, "boot", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct record, known.kvm, "kvm", JSON_BOOL, .flags = JSON_REQUIRED),
    JSON_FIELD(struct record, known.reason, "reason", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct record, known.is_proven, "proven", JSON_BOOL, .flags = JSON_REQUIRED),
    JSON_FIELD(struct record, known.tries, "tries", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct record, known.asked_ms, "asked_ms", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
static const struct json_record record_table = {sizeof(struct record), record_fields};

int accelerator_save(const char *path, const char *boot, const struct accelerator *accelerator,
                     struct error *error)
{
    struct record record = {.known = *accelerator};
    snprintf(record.boot, sizeof record.boot, "%s", boot);
    AUTO_FREE char *text = json_record_text(&record_table, &record);
    return file_write(path, text, strlen(text), 0644, error);
}

int accelerator_load(const char *path, const char *boot, struct accelerator *ret_accelerator)
{
    struct record record = {0};
    AUTO_FREE char *text = NULL;
    size_t length;
    if (file_read(path, RECORD_MAX, &text, &length, NULL) < 0 ||
        json_parse_record(&record_table, text, length, JSON_LENIENT, &record, NULL) < 0 ||
        strcmp(record.boot, boot) != 0)
        return -1;
    *ret_accelerator = record.known;
    return 0;
}

/* ---- deciding ---- */

static int read_boot_id(char ret_boot[BOOT_ID_MAX], struct error *error)
{
    AUTO_FREE char *text = NULL;
    if (file_read("/proc/sys/kernel/random/boot_id", BOOT_ID_MAX, &text, NULL, error) < 0)
        return -1;
    snprintf(ret_boot, BOOT_ID_MAX, "%.36s", text);
    return 0;
}

static uint64_t ask_again_after(unsigned tries)
{
    uint64_t wait = tries > 1 ? ASK_AGAIN_MS : 0;
    for (unsigned i = 2; i < tries && wait < ASK_AGAIN_MOST_MS; i++)
        wait *= 2;
    return wait < ASK_AGAIN_MOST_MS ? wait : ASK_AGAIN_MOST_MS;
}

bool accelerator_is_due(const struct accelerator *known, uint64_t now_ms)
{
    return !known->is_proven && now_ms >= known->asked_ms + ask_again_after(known->tries);
}

void accelerator_learn(struct accelerator *known, const struct error *why, uint64_t now_ms)
{
    bool is_proof = why == NULL || why->code == ERROR_UNAVAILABLE;
    if (!is_proof && known->is_proven)
        return;
    known->kvm = why == NULL;
    known->is_proven = is_proof;
    known->tries = is_proof ? 0 : known->tries + 1;
    known->asked_ms = is_proof ? 0 : now_ms;
    if (why == NULL)
        known->reason[0] = '\0';
    else if (is_proof)
        snprintf(known->reason, sizeof known->reason, KVM_DEVICE " is there, but %.400s",
                 why->message);
    else
        snprintf(known->reason, sizeof known->reason,
                 "not known yet whether " KVM_DEVICE " works: %.300s; a later start of the agent "
                 "asks again, shoal doctor at once",
                 why->message);
}

enum asking { ASK_WHEN_DUE, ASK_UNLESS_PROVEN, ASK_ANYWAY };

static int decide(const char *state_directory, const char *run_directory, enum asking asking,
                  struct accelerator *accelerator, struct error *error)
{
    AUTO_FREE char *folder = xasprintf("%s/host", state_directory);
    AUTO_FREE char *path = xasprintf("%s/accelerator.json", folder);
    char boot[BOOT_ID_MAX];
    struct stat device;
    struct error why = ERROR_INIT;
    if (stat(KVM_DEVICE, &device) < 0) {
        snprintf(accelerator->reason, sizeof accelerator->reason, "there is no " KVM_DEVICE);
        return 0;
    }
    if (read_boot_id(boot, error) < 0)
        return -1;
    accelerator_load(path, boot, accelerator);
    accelerator->group = device.st_gid;
    uint64_t now = clock_monotonic_ms(clock_system());
    bool asks = asking == ASK_ANYWAY || accelerator_is_due(accelerator, now) ||
                (asking == ASK_UNLESS_PROVEN && !accelerator->is_proven);
    if (!asks)
        return 0;
    int result = accelerator_probe("kvm", run_directory, GUEST_USER_PROBE, device.st_gid, &why);
    accelerator_learn(accelerator, result < 0 ? &why : NULL, now);
    return access(folder, W_OK) == 0 ? accelerator_save(path, boot, accelerator, error) : 0;
}

int accelerator_choose_again(const char *state_directory, const char *run_directory,
                             struct accelerator *ret_accelerator, struct error *error)
{
    struct accelerator accelerator = {0};
    if (decide(state_directory, run_directory, ASK_ANYWAY, &accelerator, error) < 0)
        return -1;
    *ret_accelerator = accelerator;
    return 0;
}

/* A file that nobody may open takes the device's place, here and in what this process starts. */
int accelerator_hide_device(const struct accelerator *accelerator, const char *run_directory,
                            struct error *error)
{
    if (accelerator->kvm || access(KVM_DEVICE, F_OK) < 0)
        return 0;
    AUTO_FREE char *path = xasprintf("%s/no-kvm", run_directory);
    if (file_write(path, "", 0, 0000, error) < 0)
        return -1;
    return mounts_show(path, KVM_DEVICE, true, error);
}

#if defined(__aarch64__)
static const char *const architectures[] = {"arm64", "amd64"};
#else
static const char *const architectures[] = {"amd64", "arm64"};
#endif

const char *accelerator_of(const struct accelerator *accelerator, const char *architecture)
{
    return accelerator->kvm && strcmp(architecture, architectures[0]) == 0 ? "kvm" : "tcg";
}

uint32_t accelerator_list_machines(const struct accelerator *accelerator,
                                   struct host_machine ret_machines[HOST_MACHINES_MAX])
{
    uint32_t count = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(architectures); i++) {
        bool is_arm = strcmp(architectures[i], "arm64") == 0;
        struct host_machine machine = {0};
        if (access(is_arm ? DOMAIN_EMULATOR_ARM64 : DOMAIN_EMULATOR_AMD64, X_OK) < 0)
            continue;
        snprintf(machine.arch, sizeof machine.arch, "%s", architectures[i]);
        snprintf(machine.accel, sizeof machine.accel, "%s",
                 accelerator_of(accelerator, architectures[i]));
        ret_machines[count++] = machine;
    }
    return count;
}

int accelerator_choose(const char *wanted, const char *state_directory, const char *run_directory,
                       struct accelerator *ret_accelerator, struct error *error)
{
    struct accelerator accelerator = {0};
    bool is_needed = strcmp(wanted, "kvm") == 0;
    if (strcmp(wanted, "tcg") == 0)
        snprintf(accelerator.reason, sizeof accelerator.reason, "tcg was asked for");
    else if (decide(state_directory, run_directory, is_needed ? ASK_UNLESS_PROVEN : ASK_WHEN_DUE,
                    &accelerator, error) < 0)
        return -1;
    if (is_needed && !accelerator.kvm)
        return error_set(error, ERROR_UNAVAILABLE, "accelerator kvm was asked for: %s",
                         accelerator.reason);
    *ret_accelerator = accelerator;
    return 0;
}
