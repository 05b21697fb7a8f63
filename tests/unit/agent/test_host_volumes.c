/* Volumes of the host half, on a folder of the test's own. Needs root, which the host half is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/host/volumes.h"
#include "lib/api/volumes.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define MIB  ((uint64_t)1 << 20)
#define USER 0x70000005U

static uint32_t left; /* of the last removal */
static const char one[] = "000100000001", other[] = "000100000002";
static const struct host_volume_key data = {"default", "counter", 0, "data"};

static int set_up(void **state)
{
    char *folder = xstrdup("/tmp/shoal-test-volumes.XXXXXX");
    *state = folder;
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    int result = file_remove_tree(*state, NULL);
    free(*state);
    return result;
}

static struct volumes *open_volumes(const char *folder, uint64_t limit)
{
    struct volumes *volumes = volumes_create(folder, "/run/shoal/1/w", limit, NULL);
    assert_non_null(volumes);
    return volumes;
}

static void attach(struct volumes *volumes, const char *id, const struct host_volume_key *key,
                   uint64_t size)
{
    struct error error = ERROR_INIT;
    AUTO_FREE char *path = NULL;
    if (volumes_attach(volumes, id, key, size, USER, &path, &error) < 0)
        fail_msg("%s", error.message);
}

static void assert_not_attached(struct volumes *volumes, const char *id,
                                const struct host_volume_key *key, uint64_t size,
                                enum error_code code, const char *reason)
{
    struct error error = ERROR_INIT;
    char *path = NULL;
    assert_int_equal(volumes_attach(volumes, id, key, size, USER, &path, &error), -1);
    assert_int_equal(error.code, code);
    if (strstr(error.message, reason) == NULL)
        fail_msg("no \"%s\" in: %s", reason, error.message);
    assert_null(path);
}

static struct stat look(const char *folder, const char *name)
{
    struct stat status;
    AUTO_FREE char *path = xasprintf("%s/host/volumes/default/counter/%s", folder, name);
    assert_int_equal(stat(path, &status), 0);
    return status;
}

static void put(const char *folder, const char *name, off_t at, const char *text)
{
    AUTO_FREE char *path = xasprintf("%s/host/volumes/default/counter/%s", folder, name);
    AUTO_CLOSE int file = open(path, O_WRONLY);
    assert_int_equal(pwrite(file, text, strlen(text), at), strlen(text));
}

static void assert_holds(const char *folder, const char *name, off_t at, const char *text)
{
    char found[16] = "";
    AUTO_FREE char *path = xasprintf("%s/host/volumes/default/counter/%s", folder, name);
    AUTO_CLOSE int file = open(path, O_RDONLY);
    assert_int_equal(pread(file, found, strlen(text), at), strlen(text));
    assert_string_equal(found, text);
}

/* A guest that is asked to wait. */
struct guest {
    struct volumes *volumes;
    int paused, resumed;
};

static int pause_guest(void *context, const char *id, struct error *error)
{
    (void)error;
    struct guest *guest = context;
    assert_string_equal(id, one);
    if (guest == NULL)
        return 0;
    guest->paused++;
    /* Its instance goes and the next one comes: not before the copy is done. */
    volumes_detach(guest->volumes, one);
    assert_not_attached(guest->volumes, other, &data, MIB, ERROR_CONFLICT, "being copied");
    assert_int_equal(volumes_remove(guest->volumes, &data, "", &left, NULL), -1);
    return 0;
}

static void resume_guest(void *context, const char *id)
{
    struct guest *guest = context;
    assert_string_equal(id, one);
    if (guest != NULL)
        guest->resumed++;
}

static int refuse_pause(void *context, const char *id, struct error *error)
{
    (void)context;
    return error_set(error, ERROR_CONFLICT, "%s does not stop", id);
}

static const struct volume_pauser pauser = {pause_guest, resume_guest, NULL};
static const struct volume_pauser refuses = {refuse_pause, resume_guest, NULL};

/* ---- copies that are cut off ---- */

static void what_a_cut_off_copy_left_goes_at_the_next_start(void **state)
{
    struct volumes *volumes = open_volumes(*state, 0);
    AUTO_FREE char *path =
        xasprintf("%s/host/volumes/default/counter/0/.data.part", (char *)*state);
    attach(volumes, one, &data, MIB);
    volumes_detach(volumes, one);
    volumes_destroy(volumes);
    assert_int_equal(file_write(path, "half a copy", 11, 0600, NULL), 0);
    volumes = open_volumes(*state, 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(look(*state, "0/data").st_size, MIB);
    assert_int_equal(volumes_remove(volumes, &data, "", &left, NULL), 0);
    volumes_destroy(volumes);
    AUTO_FREE char *namespace = xasprintf("%s/host/volumes/default", (char *)*state);
    assert_int_equal(access(namespace, F_OK), -1);
}

static int pause_and_stop(void *context, const char *id, struct error *error)
{
    (void)id;
    (void)error;
    const struct guest *guest = context;
    volumes_stop(guest->volumes);
    return 0;
}

static void an_end_does_not_wait_for_a_copy(void **state)
{
    struct volumes *volumes = open_volumes(*state, 0);
    struct guest guest = {.volumes = volumes};
    struct volume_pauser stops = {pause_and_stop, resume_guest, &guest};
    struct error error = ERROR_INIT;
    attach(volumes, one, &data, MIB);
    put(*state, "0/data", 0, "1");
    assert_int_equal(volumes_snapshot(volumes, &data, "first", &stops, &error), -1);
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    assert_int_equal(guest.resumed, 1);
    AUTO_FREE char *path =
        xasprintf("%s/host/volumes/default/counter/0/data@first", (char *)*state);
    AUTO_FREE char *part =
        xasprintf("%s/host/volumes/default/counter/0/.data.part", (char *)*state);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(part, F_OK), -1);
    volumes_destroy(volumes);
}

/* What comes in while a snapshot is made has no room that the snapshot will take. */
static int pause_and_attach(void *context, const char *id, struct error *error)
{
    (void)id;
    (void)error;
    const struct guest *guest = context;
    struct host_volume_key next = data;
    next.slot = 1;
    assert_not_attached(guest->volumes, other, &next, MIB, ERROR_STORAGE_FULL, "no room");
    return 0;
}

static void a_snapshot_that_is_being_made_has_its_room(void **state)
{
    struct volumes *volumes = open_volumes(*state, 2 * MIB + 4096);
    struct guest guest = {.volumes = volumes};
    struct volume_pauser attaches = {pause_and_attach, resume_guest, &guest};
    struct host_volume_key next = data;
    next.slot = 1;
    attach(volumes, one, &data, MIB);
    put(*state, "0/data", 0, "1");
    put(*state, "0/data", MIB / 2, "2");
    assert_int_equal(volumes_snapshot(volumes, &data, "first", &attaches, NULL), 0);
    assert_int_equal(volumes_remove(volumes, &data, "first", &left, NULL), 0);
    attach(volumes, other, &next, MIB);
    volumes_destroy(volumes);
}

/* ---- one writer ---- */

static void a_volume_is_its_users_while_an_instance_has_it(void **state)
{
    struct volumes *volumes = open_volumes(*state, 0);
    char *path = NULL, holder[INSTANCE_ID_MAX];
    assert_int_equal(volumes_attach(volumes, one, &data, MIB + 1, USER, &path, NULL), 0);
    assert_string_equal(path, "/run/shoal/1/w/default/counter/0/data");
    free(path);
    struct stat status = look(*state, "0/data");
    assert_int_equal(status.st_uid, USER);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(status.st_size, MIB + 4096); /* whole blocks */
    assert_true(status.st_blocks < 16);
    assert_true(volumes_holder(volumes, &data, holder));
    assert_string_equal(holder, one);
    volumes_detach(volumes, one);
    assert_int_equal(look(*state, "0/data").st_uid, 0);
    assert_false(volumes_holder(volumes, &data, holder));
    volumes_destroy(volumes);
}

static void nobody_else_gets_it_meanwhile(void **state)
{
    struct volumes *volumes = open_volumes(*state, 0);
    attach(volumes, one, &data, MIB);
    assert_not_attached(volumes, other, &data, MIB, ERROR_CONFLICT, one);
    struct volumes *second = open_volumes(*state, 0); /* of another process, it might be */
    assert_not_attached(second, other, &data, MIB, ERROR_CONFLICT, "in use");
    volumes_detach(volumes, one);
    attach(second, other, &data, MIB);
    assert_not_attached(volumes, one, &data, MIB, ERROR_CONFLICT, "in use");
    struct host_volume_key next = data;
    next.slot = 1;
    attach(volumes, one, &next, MIB);
    volumes_destroy(volumes);
    volumes_destroy(second);
}

static const char *knows_one(void *context, uint32_t uid)
{
    (void)context;
    return uid == USER ? one : NULL;
}

static const char *knows_nobody(void *context, uint32_t uid)
{
    (void)context;
    (void)uid;
    return NULL;
}

static void the_next_start_knows_who_has_which(void **state)
{
    struct volumes *volumes = open_volumes(*state, 0);
    char holder[INSTANCE_ID_MAX];
    attach(volumes, one, &data, MIB);
    volumes_destroy(volumes);
    assert_int_equal(look(*state, "0/data").st_uid, USER);
    volumes = open_volumes(*state, 0);
    volumes_adopt(volumes, knows_one, NULL);
    assert_true(volumes_holder(volumes, &data, holder));
    assert_string_equal(holder, one);
    assert_not_attached(volumes, other, &data, MIB, ERROR_CONFLICT, one);
    volumes_destroy(volumes);
    volumes = open_volumes(*state, 0);
    volumes_adopt(volumes, knows_nobody, NULL); /* its microVM ended in our absence */
    assert_int_equal(look(*state, "0/data").st_uid, 0);
    attach(volumes, other, &data, MIB);
    volumes_destroy(volumes);
}

/* As QEMU locks what it has open: by a description of the file, on some of its bytes. */
static int hold_as_qemu(const char *folder)
{
    AUTO_FREE char *path = xasprintf("%s/host/volumes/default/counter/0/data", folder);
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
    int file = open(path, O_RDWR | O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(fcntl(file, F_OFD_SETLK, &lock), 0);
    return file;
}

/* It was killed when the agent was, its instance is not known any more, and it has not ended. */
static void a_qemu_that_nobody_knows_keeps_others_off(void **state)
{
    struct error error = ERROR_INIT;
    struct volumes *volumes = open_volumes(*state, 64 * MIB);
    attach(volumes, one, &data, MIB);
    volumes_detach(volumes, one);
    assert_int_equal(volumes_snapshot(volumes, &data, "first", NULL, NULL), 0);
    int file = hold_as_qemu(*state);
    assert_not_attached(volumes, other, &data, MIB, ERROR_CONFLICT, "another process has it");
    assert_int_equal(volumes_snapshot(volumes, &data, "second", NULL, &error), -1);
    assert_int_equal(error.code, ERROR_CONFLICT);
    assert_int_equal(volumes_restore(volumes, &data, "first", NULL), -1);
    assert_int_equal(volumes_remove(volumes, &data, "", &left, NULL), -1);
    /* Refusing left nothing locked. */
    close(file);
    attach(volumes, one, &data, MIB);
    /* An instance's own QEMU is no stranger to the next start. */
    file = hold_as_qemu(*state);
    volumes_destroy(volumes);
    volumes = open_volumes(*state, 64 * MIB);
    volumes_adopt(volumes, knows_one, NULL);
    char holder[INSTANCE_ID_MAX];
    assert_true(volumes_holder(volumes, &data, holder));
    assert_string_equal(holder, one);
    close(file);
    volumes_destroy(volumes);
}

/* ---- size, limit, names ---- */

static void a_volume_keeps_what_was_written_and_only_grows(void **state)
{
    struct volumes *volumes = open_volumes(*state, 0);
    attach(volumes, one, &data, MIB);
    put(*state, "0/data", 4096, "kept");
    volumes_detach(volumes, one);
    attach(volumes, other, &data, 3 * MIB);
    assert_int_equal(look(*state, "0/data").st_size, 3 * MIB);
    assert_holds(*state, "0/data", 4096, "kept");
    volumes_detach(volumes, other);
    attach(volumes, one, &data, 2 * MIB); /* a rollback */
    assert_int_equal(look(*state, "0/data").st_size, 3 * MIB);
    volumes_destroy(volumes);
}

static void no_more_than_the_limit_is_promised(void **state)
{
    struct volumes *volumes = open_volumes(*state, 4 * MIB);
    struct host_volume_key next = data;
    next.slot = 1;
    attach(volumes, one, &data, 3 * MIB);
    assert_not_attached(volumes, other, &next, 2 * MIB, ERROR_STORAGE_FULL, "--volumes");
    attach(volumes, other, &next, MIB);
    volumes_detach(volumes, other);
    assert_not_attached(volumes, other, &next, 2 * MIB, ERROR_STORAGE_FULL, "no room for 1Mi more");
    volumes_detach(volumes, one);
    assert_int_equal(volumes_remove(volumes, &data, "", &left, NULL), 0);
    assert_int_equal(left, 0);
    attach(volumes, other, &next, 4 * MIB);
    volumes_destroy(volumes);
}

static void snapshots_count_by_what_they_take_and_are_refused_beyond_the_limit(void **state)
{
    uint64_t used, snapshots;
    struct error error = ERROR_INIT;
    AUTO_FREE char *text = xmalloc(MIB);
    AUTO_FREE char *path = xasprintf("%s/host/volumes/default/counter/0/data", (char *)*state);
    struct volumes *volumes = open_volumes(*state, 5 * MIB);
    volumes_count(volumes, &used, &snapshots);
    assert_int_equal(used, 0);
    attach(volumes, one, &data, 4 * MIB);
    AUTO_CLOSE int file = open(path, O_WRONLY);
    memset(text, 'x', MIB);
    assert_int_equal(write(file, text, MIB), MIB);
    volumes_detach(volumes, one);
    volumes_count(volumes, &used, &snapshots);
    assert_int_equal(used, 4 * MIB);
    assert_int_equal(snapshots, 0);
    assert_int_equal(volumes_snapshot(volumes, &data, "first", NULL, NULL), 0);
    volumes_count(volumes, &used, &snapshots);
    assert_int_equal(used, 5 * MIB);
    assert_int_equal(snapshots, MIB);
    assert_int_equal(volumes_snapshot(volumes, &data, "second", NULL, &error), -1);
    assert_int_equal(error.code, ERROR_STORAGE_FULL);
    if (strstr(error.message, "no room for 1Mi more of volumes and snapshots: 5Mi of this node's "
                              "5Mi are taken (remove some") == NULL)
        fail_msg("%s", error.message);
    assert_int_equal(volumes_remove(volumes, &data, "first", &left, NULL), 0);
    volumes_count(volumes, &used, &snapshots);
    assert_int_equal(used, 4 * MIB);
    assert_int_equal(volumes_snapshot(volumes, &data, "second", NULL, NULL), 0);
    volumes_destroy(volumes);
}

static void a_removal_tells_what_the_slot_still_has(void **state)
{
    struct volumes *volumes = open_volumes(*state, 0);
    struct host_volume_key log = data, next = data;
    strcpy(log.name, "log");
    next.slot = 1;
    attach(volumes, one, &data, MIB);
    attach(volumes, one, &log, MIB);
    attach(volumes, other, &next, MIB);
    volumes_detach(volumes, one);
    assert_int_equal(volumes_snapshot(volumes, &log, "a", NULL, NULL), 0);
    assert_int_equal(volumes_remove(volumes, &data, "", &left, NULL), 0);
    assert_int_equal(left, 1);
    assert_int_equal(volumes_remove(volumes, &log, "", &left, NULL), 0);
    assert_int_equal(left, 0);
    volumes_destroy(volumes);
}

static void a_name_that_is_none_reaches_no_path(void **state)
{
    static const char *const names[] = {"", "..", "a/b", "data@x", ".data", "Data", "a\nb"};
    struct volumes *volumes = open_volumes(*state, 0);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        struct host_volume_key key = data;
        strcpy(key.name, names[i]);
        assert_not_attached(volumes, one, &key, MIB, ERROR_INVALID, "well formed");
        key = data;
        strcpy(key.service, names[i]);
        assert_int_equal(volumes_remove(volumes, &key, "", &left, NULL), -1);
        assert_int_equal(volumes_snapshot(volumes, &data, names[i], NULL, NULL), -1);
        assert_int_equal(volumes_restore(volumes, &data, names[i], NULL), -1);
    }
    struct host_volume_key long_one = data;
    memset(long_one.name, 'a', sizeof long_one.name);
    assert_not_attached(volumes, one, &long_one, MIB, ERROR_INVALID, "well formed");
    volumes_destroy(volumes);
}

static void a_link_in_its_place_is_not_followed(void **state)
{
    struct volumes *volumes = open_volumes(*state, 0);
    AUTO_FREE char *target = xasprintf("%s/target", (char *)*state);
    AUTO_FREE char *path = xasprintf("%s/host/volumes/default/counter/0/data", (char *)*state);
    attach(volumes, one, &data, MIB);
    volumes_detach(volumes, one);
    assert_int_equal(file_write(target, "x", 1, 0600, NULL), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink(target, path), 0);
    assert_not_attached(volumes, one, &data, MIB, ERROR_IO, "open volume");
    volumes_destroy(volumes);
}

static void a_full_disk_is_told_and_leaves_nothing(void **state)
{
    AUTO_FREE char *disk = xasprintf("%s/disk", (char *)*state);
    struct error error = ERROR_INIT;
    assert_int_equal(mkdir(disk, 0755), 0);
    if (mount("none", disk, "tmpfs", 0, "size=1m") < 0)
        skip();
    struct volumes *volumes = open_volumes(disk, 64 * MIB);
    attach(volumes, one, &data, 4 * MIB);
    AUTO_FREE char *half = xmalloc(MIB / 2 + MIB / 4);
    memset(half, 'x', MIB / 2 + MIB / 4);
    AUTO_FREE char *path = xasprintf("%s/host/volumes/default/counter/0/data", disk);
    AUTO_FREE char *partial = xasprintf("%s/host/volumes/default/counter/0/.data.part", disk);
    int file = open(path, O_WRONLY);
    assert_int_equal(write(file, half, MIB / 2 + MIB / 4), MIB / 2 + MIB / 4);
    close(file);
    assert_int_equal(volumes_snapshot(volumes, &data, "full", &pauser, &error), -1);
    assert_int_equal(error.code, ERROR_STORAGE_FULL);
    assert_non_null(
        strstr(error.message, "a copy of 768Ki does not fit on the node's disk: 256Ki"));
    assert_int_equal(access(partial, F_OK), -1);
    assert_holds(disk, "0/data", 0, "xxxx");
    volumes_destroy(volumes);
    assert_int_equal(umount(disk), 0);
}

/* ---- snapshots ---- */

static void a_snapshot_is_the_volume_as_it_was(void **state)
{
    struct volumes *volumes = open_volumes(*state, 0);
    struct error error = ERROR_INIT;
    attach(volumes, one, &data, 64 * MIB);
    put(*state, "0/data", 0, "first");
    put(*state, "0/data", 40 * (off_t)MIB, "far");
    volumes_detach(volumes, one);
    assert_int_equal(volumes_snapshot(volumes, &data, "before", NULL, NULL), 0);
    struct stat status = look(*state, "0/data@before");
    assert_int_equal(status.st_size, 64 * MIB);
    assert_int_equal(status.st_uid, 0);
    assert_true(status.st_blocks < 64);
    assert_int_equal(volumes_snapshot(volumes, &data, "before", NULL, &error), -1);
    assert_int_equal(error.code, ERROR_CONFLICT);
    put(*state, "0/data", 0, "later");
    assert_int_equal(volumes_restore(volumes, &data, "before", NULL), 0);
    assert_holds(*state, "0/data", 0, "first");
    assert_holds(*state, "0/data", 40 * (off_t)MIB, "far");
    assert_int_equal(volumes_remove(volumes, &data, "before", &left, NULL), 0);
    assert_int_equal(volumes_restore(volumes, &data, "before", &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    volumes_destroy(volumes);
}

static void what_an_instance_has_is_copied_while_it_is_paused_and_not_replaced(void **state)
{
    struct volumes *volumes = open_volumes(*state, 0);
    struct error error = ERROR_INIT;
    attach(volumes, one, &data, MIB);
    assert_int_equal(volumes_snapshot(volumes, &data, "a", NULL, &error), -1);
    assert_int_equal(error.code, ERROR_CONFLICT);
    assert_int_equal(volumes_snapshot(volumes, &data, "a", &refuses, &error), -1);
    assert_non_null(strstr(error.message, "does not stop"));
    struct guest guest = {.volumes = volumes};
    struct volume_pauser notes = pauser;
    notes.context = &guest;
    assert_int_equal(volumes_snapshot(volumes, &data, "a", &notes, NULL), 0);
    assert_int_equal(guest.paused, 1);
    assert_int_equal(guest.resumed, 1);
    attach(volumes, one, &data, MIB);
    assert_int_equal(volumes_restore(volumes, &data, "a", &error), -1);
    assert_int_equal(error.code, ERROR_CONFLICT);
    assert_non_null(strstr(error.message, one));
    assert_int_equal(volumes_remove(volumes, &data, "", &left, &error), -1);
    assert_int_equal(error.code, ERROR_CONFLICT);
    volumes_detach(volumes, one);
    assert_int_equal(volumes_remove(volumes, &data, "", &left, NULL), 0);
    AUTO_FREE char *folder = xasprintf("%s/host/volumes/default", (char *)*state);
    assert_int_equal(access(folder, F_OK), -1); /* with its snapshot and its folders */
    assert_int_equal(volumes_remove(volumes, &data, "", &left, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    volumes_destroy(volumes);
}

static void all_of_them_are_listed(void **state)
{
    struct volumes *volumes = open_volumes(*state, 64 * MIB);
    struct host_volume_key next = data;
    AUTO_BUFFER struct buffer text = {0};
    struct api_node_volumes list = {0};
    next.slot = 1;
    attach(volumes, other, &next, MIB);
    attach(volumes, one, &data, MIB);
    volumes_detach(volumes, one);
    put(*state, "0/data", 0, "first");
    assert_int_equal(volumes_snapshot(volumes, &data, "newer", NULL, NULL), 0);
    assert_int_equal(volumes_snapshot(volumes, &data, "a-newest", NULL, NULL), 0);
    volumes_list(volumes, &text);
    assert_int_equal(json_parse_record(&api_node_volumes_record, text.data, text.length,
                                       JSON_STRICT, &list, NULL),
                     0);
    assert_int_equal(list.limit, 64 * MIB);
    assert_int_equal(list.used, 2 * MIB + 8192);
    assert_int_equal(list.volume_count, 2);
    assert_string_equal(list.volumes[0].service, "counter");
    assert_int_equal(list.volumes[0].slot, 0);
    assert_int_equal(list.volumes[0].size, MIB);
    assert_int_equal(list.volumes[0].used, 4096);
    assert_int_equal(list.volumes[0].state, VOLUME_KEPT);
    assert_int_equal(list.volumes[0].snapshot_count, 2);
    assert_string_equal(list.volumes[0].snapshots[0].name, "newer");
    assert_string_equal(list.volumes[0].snapshots[1].name, "a-newest");
    assert_true(list.volumes[0].snapshots[0].age_ms < 3600 * 1000);
    assert_string_equal(list.volumes[1].instance, other);
    assert_int_equal(list.volumes[1].state, VOLUME_IN_USE);
    json_record_release(&api_node_volumes_record, &list);
    volumes_destroy(volumes);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_volume_is_its_users_while_an_instance_has_it),
        TEST(nobody_else_gets_it_meanwhile),
        TEST(a_qemu_that_nobody_knows_keeps_others_off),
        TEST(the_next_start_knows_who_has_which),
        TEST(a_volume_keeps_what_was_written_and_only_grows),
        TEST(no_more_than_the_limit_is_promised),
        TEST(snapshots_count_by_what_they_take_and_are_refused_beyond_the_limit),
        TEST(a_removal_tells_what_the_slot_still_has),
        TEST(a_name_that_is_none_reaches_no_path),
        TEST(a_link_in_its_place_is_not_followed),
        TEST(a_full_disk_is_told_and_leaves_nothing),
        TEST(a_snapshot_is_the_volume_as_it_was),
        TEST(what_an_instance_has_is_copied_while_it_is_paused_and_not_replaced),
        TEST(what_a_cut_off_copy_left_goes_at_the_next_start),
        TEST(an_end_does_not_wait_for_a_copy),
        TEST(a_snapshot_that_is_being_made_has_its_room),
        TEST(all_of_them_are_listed),
    };
    if (geteuid() != 0)
        return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
