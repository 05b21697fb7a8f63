#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/xalloc.h"
#include "registry/storage/open_blobs.h"

#define ZEROS "000000000000000000000000000000000000000000000000000000000000"
#define ONE   "sha256:0011" ZEROS
#define TWIN  "sha256:0022" ZEROS /* has the place of ONE */
#define OTHER "sha256:0111" ZEROS

struct place {
    char path[64];
    int descriptor;
    ino_t number;
    struct open_blobs *open;
};

static int make_place(void **state)
{
    struct place *place = xcalloc(1, sizeof *place);
    struct stat status;
    strcpy(place->path, "/tmp/shoal-open-XXXXXX");
    place->descriptor = mkstemp(place->path);
    assert_true(place->descriptor >= 0);
    assert_int_equal(write(place->descriptor, "hello", 5), 5);
    assert_int_equal(fstat(place->descriptor, &status), 0);
    place->number = status.st_ino;
    place->open = open_blobs_create();
    *state = place;
    return 0;
}

static int remove_place(void **state)
{
    struct place *place = *state;
    open_blobs_destroy(place->open);
    close(place->descriptor);
    unlink(place->path);
    free(place);
    return 0;
}

static bool is_kept(const struct place *place, const char *digest)
{
    int descriptor = -1;
    uint64_t size = 0, ticket;
    struct stat status;
    if (!open_blobs_take(place->open, digest, &descriptor, &size, &ticket))
        return false;
    assert_int_equal(size, 5);
    assert_int_not_equal(descriptor, place->descriptor);
    assert_int_equal(fstat(descriptor, &status), 0);
    assert_int_equal(status.st_ino, place->number);
    assert_true(fcntl(descriptor, F_GETFD) & FD_CLOEXEC);
    close(descriptor);
    return true;
}

static uint64_t ticket_for(const struct place *place, const char *digest)
{
    int descriptor;
    uint64_t size, ticket = 0;
    assert_false(open_blobs_take(place->open, digest, &descriptor, &size, &ticket));
    return ticket;
}

static void what_was_opened_is_had_again(void **state)
{
    struct place *place = *state;
    open_blobs_keep(place->open, ONE, place->descriptor, ticket_for(place, ONE));
    assert_true(is_kept(place, ONE));
    assert_true(is_kept(place, ONE));
    assert_false(is_kept(place, TWIN));
    assert_false(is_kept(place, OTHER));
}

static void the_last_of_two_that_share_a_place_is_kept(void **state)
{
    struct place *place = *state;
    open_blobs_keep(place->open, ONE, place->descriptor, ticket_for(place, ONE));
    open_blobs_keep(place->open, OTHER, place->descriptor, ticket_for(place, OTHER));
    open_blobs_keep(place->open, TWIN, place->descriptor, ticket_for(place, TWIN));
    assert_false(is_kept(place, ONE));
    assert_true(is_kept(place, TWIN));
    assert_true(is_kept(place, OTHER));
    open_blobs_forget(place->open, ONE); /* not the other one of its place */
    assert_true(is_kept(place, TWIN));
}

static void what_is_forgotten_is_gone(void **state)
{
    struct place *place = *state;
    open_blobs_keep(place->open, ONE, place->descriptor, ticket_for(place, ONE));
    open_blobs_forget(place->open, ONE);
    assert_false(is_kept(place, ONE));
}

/* Between asking and keeping, another thread replaced the file. */
static void what_was_forgotten_meanwhile_is_not_kept(void **state)
{
    struct place *place = *state;
    uint64_t ticket = ticket_for(place, ONE);
    open_blobs_forget(place->open, ONE);
    open_blobs_keep(place->open, ONE, place->descriptor, ticket);
    assert_false(is_kept(place, ONE));
}

static void a_file_that_somebody_unlinked_is_noticed(void **state)
{
    struct place *place = *state;
    open_blobs_keep(place->open, ONE, place->descriptor, ticket_for(place, ONE));
    assert_int_equal(unlink(place->path), 0);
    assert_false(is_kept(place, ONE));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_opened_is_had_again),
        TEST(the_last_of_two_that_share_a_place_is_kept),
        TEST(what_is_forgotten_is_gone),
        TEST(what_was_forgotten_meanwhile_is_not_kept),
        TEST(a_file_that_somebody_unlinked_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
