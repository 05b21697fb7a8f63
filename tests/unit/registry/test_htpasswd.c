/* The file of users, and the users it makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "registry/access/htpasswd.h"
#include "registry/access/users.h"

/* Of "U*U" by cost 5: a vector of bcrypt's author (crypt_blowfish's wrapper.c). */
#define VECTOR   "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
#define VECTOR_B "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
#define VECTOR_Y "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"

static char folder[] = "/tmp/shoal-htpasswd.XXXXXX";
static char *path;

static int parse(const char *text, struct htpasswd *ret_file, struct error *error)
{
    return htpasswd_parse("users", text, strlen(text), ret_file, error);
}

static void users_are_found_by_name(void **state)
{
    (void)state;
    struct htpasswd file;
    assert_int_equal(
        parse("# people\n\nzoe:" VECTOR_Y "\r\nbob b:" VECTOR "\nann:" VECTOR_B, &file, NULL), 0);
    assert_int_equal(file.count, 3);
    assert_string_equal(htpasswd_find(&file, "zoe")->hash, VECTOR_Y);
    assert_string_equal(htpasswd_find(&file, "bob b")->hash, VECTOR);
    assert_string_equal(htpasswd_find(&file, "ann")->hash, VECTOR_B);
    assert_null(htpasswd_find(&file, "bob"));
    assert_null(htpasswd_find(&file, ""));
    htpasswd_release(&file);
    assert_int_equal(parse("", &file, NULL), 0);
    assert_null(htpasswd_find(&file, "bob"));
    htpasswd_release(&file);
}

static void a_mistake_is_named_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"a:" VECTOR "\nb:$apr1$x$abcdefghijklmnopqrstu\n", "users:2: not a bcrypt hash"},
        {"a:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n", "htpasswd -B"},
        {"a:plain\n", "shoal-registry passwd NAME"},
        {"a:\n", "users:1: not a bcrypt hash"},
        {"a:" VECTOR "x\n", "users:1: not a bcrypt hash"},
        {"a:$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n", "not a bcrypt hash"},
        {"a:$2y$05$CCCCCCCCCCCCCCCCCCCCC!E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n", "not a bcrypt hash"},
        {"\n\na:$2y$16$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n",
         "users:3: a bcrypt cost of 16 is not taken"},
        {"a:$2y$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n", "a bcrypt cost of 3"},
        {"just a name\n", "users:1: not of the form NAME:HASH"},
        {":" VECTOR "\n", "cannot be a user's name"},
        {"*:" VECTOR "\n", "cannot be a user's name"},
        {"anonymous:" VECTOR "\n", "cannot be a user's name"},
        {"a\tb:" VECTOR "\n", "cannot be a user's name"},
        {"a:" VECTOR "\nb:" VECTOR "\na:" VECTOR "\n", "\"a\" is there twice"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct error error = ERROR_INIT;
        struct htpasswd file;
        assert_int_equal(parse(cases[i].text, &file, &error), -1);
        if (strstr(error.message, cases[i].message) == NULL)
            fail_msg("%s: not \"%s\"", error.message, cases[i].message);
    }
}

static void its_sizes_are_bounded(void **state)
{
    (void)state;
    struct htpasswd file;
    struct error error = ERROR_INIT;
    char line[HTPASSWD_LINE_MAX + 3];
    memset(line, 'a', sizeof line);
    line[sizeof line - 1] = '\0';
    assert_int_equal(parse(line, &file, &error), -1);
    assert_non_null(strstr(error.message, "users:1: longer than"));
    assert_int_equal(htpasswd_parse("users", "", HTPASSWD_FILE_MAX + 1, &file, &error), -1);
    assert_int_equal(error.code, ERROR_TOO_LARGE);
    assert_int_equal(htpasswd_parse("users", "a\0b:" VECTOR, 4 + strlen(VECTOR), &file, &error),
                     -1);
    assert_non_null(strstr(error.message, "not text"));
}

static void a_password_has_its_hash_and_no_other(void **state)
{
    (void)state;
    char hash[HTPASSWD_HASH_MAX], other[HTPASSWD_HASH_MAX];
    assert_true(htpasswd_check(VECTOR, "U*U"));
    assert_true(htpasswd_check(VECTOR_B, "U*U"));
    assert_true(htpasswd_check(VECTOR_Y, "U*U"));
    assert_false(htpasswd_check(VECTOR, "U*U*"));
    assert_false(htpasswd_check(VECTOR, ""));
    assert_false(htpasswd_check("", ""));
    assert_false(htpasswd_check("*0", "U*U"));
    assert_int_equal(htpasswd_make("secret", 4, hash, NULL), 0);
    assert_int_equal(htpasswd_make("secret", 4, other, NULL), 0);
    assert_string_not_equal(hash, other);
    assert_true(htpasswd_check(hash, "secret"));
    assert_false(htpasswd_check(hash, "Secret"));
}

static void the_file_is_changed_line_by_line(void **state)
{
    (void)state;
    AUTO_FREE char *text = NULL;
    size_t length;
    struct error error = ERROR_INIT;
    struct stat status;
    unlink(path);
    assert_int_equal(htpasswd_update(path, "a", NULL, NULL, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_int_equal(htpasswd_update(path, "a", VECTOR, NULL, NULL), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    static const char before[] = "# mine\nab:" VECTOR "\na:" VECTOR "\n\nb:" VECTOR;
    assert_int_equal(file_write(path, before, strlen(before), 0640, NULL), 0);
    assert_int_equal(htpasswd_update(path, "a", VECTOR_B, NULL, NULL), 0);
    assert_int_equal(htpasswd_update(path, "c", VECTOR_Y, NULL, NULL), 0);
    assert_int_equal(htpasswd_update(path, "ab", NULL, NULL, NULL), 0);
    assert_int_equal(file_read(path, 10000, &text, &length, NULL), 0);
    assert_string_equal(text, "# mine\na:" VECTOR_B "\n\nb:" VECTOR "\nc:" VECTOR_Y "\n");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    /* One that is not understood stays. */
    assert_int_equal(file_write(path, "nonsense\n", 9, 0600, NULL), 0);
    assert_int_equal(htpasswd_update(path, "a", VECTOR, NULL, NULL), -1);
}

static struct users *open_users(const char *text)
{
    struct users *users;
    assert_int_equal(file_write(path, text, strlen(text), 0600, NULL), 0);
    assert_int_equal(users_htpasswd_open(path, &users, NULL), 0);
    return users;
}

static void a_reload_forgets_what_was_right(void **state)
{
    (void)state;
    struct error error = ERROR_INIT;
    struct users *users = open_users("ann:" VECTOR "\n");
    char mark[USERS_MARK_MAX];
    assert_int_equal(users_check(users, "ann", "U*U", NULL), USERS_GOOD);
    assert_int_equal(users_check(users, "ann", "U*U", NULL), USERS_GOOD);
    assert_int_equal(users_check(users, "ann", "other", NULL), USERS_WRONG);
    assert_int_equal(users_check(users, "bob", "U*U", NULL), USERS_WRONG);
    assert_true(users_mark(users, "ann", mark));
    assert_int_equal(file_write(path, "bob:" VECTOR "\n", strlen("bob:" VECTOR "\n"), 0600, NULL),
                     0);
    assert_int_equal(users_reload(users, NULL), 0);
    assert_int_equal(users_check(users, "ann", "U*U", NULL), USERS_WRONG);
    assert_int_equal(users_check(users, "bob", "U*U", NULL), USERS_GOOD);
    assert_false(users_mark(users, "ann", mark));
    /* A bad file changes nothing. */
    assert_int_equal(file_write(path, "bob\n", 4, 0600, NULL), 0);
    assert_int_equal(users_reload(users, &error), -1);
    assert_non_null(strstr(error.message, ":1: not of the form"));
    assert_int_equal(users_check(users, "bob", "U*U", NULL), USERS_GOOD);
    users_destroy(users);
}

static void nobody_is_good_in_an_empty_file(void **state)
{
    (void)state;
    struct users *users = open_users("");
    assert_int_equal(users_check(users, "ann", "U*U", NULL), USERS_WRONG);
    assert_int_equal(users_check(users, "", "", NULL), USERS_WRONG);
    users_destroy(users);
}

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    path = xasprintf("%s/users", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(path);
    return file_remove_tree(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_are_found_by_name),
        cmocka_unit_test(a_mistake_is_named_with_its_line),
        cmocka_unit_test(its_sizes_are_bounded),
        cmocka_unit_test(a_password_has_its_hash_and_no_other),
        cmocka_unit_test(the_file_is_changed_line_by_line),
        cmocka_unit_test(a_reload_forgets_what_was_right),
        cmocka_unit_test(nobody_is_good_in_an_empty_file),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
