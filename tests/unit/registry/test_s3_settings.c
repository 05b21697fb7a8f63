/* What may be said about a bucket, and where its keys come from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "registry/storage/s3_settings.h"

static void assert_refused(struct s3_settings settings, const char *why)
{
    struct error error = ERROR_INIT;
    assert_int_equal(s3_settings_check(&settings, &error), -1);
    assert_int_equal(error.code, ERROR_INVALID);
    if (strstr(error.message, why) == NULL)
        fail_msg("no \"%s\" in \"%s\"", why, error.message);
}

static struct s3_settings good(void)
{
    return (struct s3_settings){.endpoint = (char *)"https://s3.example.com:9000",
                                .bucket = (char *)"my-bucket",
                                .region = (char *)"eu-central-1",
                                .prefix = (char *)"shoal/registry/"};
}

static void names_that_go_into_urls_are_plain(void **state)
{
    (void)state;
    struct s3_settings settings = good();
    assert_int_equal(s3_settings_check(&settings, NULL), 0);
    const char *const endpoints[] = {"",
                                     "s3.example.com",
                                     "ftp://host",
                                     "https://",
                                     "https://host/path",
                                     "https://user@host",
                                     "https://host?x"};
    for (size_t i = 0; i < ARRAY_LENGTH(endpoints); i++) {
        settings = good();
        settings.endpoint = (char *)endpoints[i];
        assert_refused(settings, "endpoint");
    }
    const char *const buckets[] = {"", "ab", "Bucket", "a/b/c", "../x"};
    for (size_t i = 0; i < ARRAY_LENGTH(buckets); i++) {
        settings = good();
        settings.bucket = (char *)buckets[i];
        assert_refused(settings, "bucket");
    }
    const char *const prefixes[] = {"/x", "a//b", "a b", "a?b", "a%2Fb"};
    for (size_t i = 0; i < ARRAY_LENGTH(prefixes); i++) {
        settings = good();
        settings.prefix = (char *)prefixes[i];
        assert_refused(settings, "prefix");
    }
    settings = good();
    settings.region = (char *)"us-east-1:s3";
    assert_refused(settings, "region");
}

struct file {
    char path[32];
};

static struct file write_file(const char *text, mode_t mode)
{
    struct file file = {"/tmp/s3-credentials.XXXXXX"};
    int descriptor = mkstemp(file.path);
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(descriptor, mode), 0);
    close(descriptor);
    return file;
}

static void assert_loaded(const char *text, const char *token)
{
    struct error error = ERROR_INIT;
    struct s3_credentials credentials;
    struct file file = write_file(text, 0600);
    if (s3_credentials_load(file.path, &credentials, &error) < 0)
        fail_msg("%s", error.message);
    unlink(file.path);
    assert_string_equal(credentials.access_key_id, "AKID");
    assert_string_equal(credentials.secret_access_key, "s/e+c=ret");
    if (token != NULL)
        assert_string_equal(credentials.session_token, token);
    else
        assert_null(credentials.session_token);
    s3_credentials_release(&credentials);
    assert_null(credentials.secret_access_key);
}

static void keys_come_from_json_or_lines(void **state)
{
    (void)state;
    assert_loaded("access_key_id = AKID\nsecret_access_key=s/e+c=ret\n", NULL);
    assert_loaded("[default]\n# ours\naws_access_key_id=AKID\r\n"
                  "aws_secret_access_key = s/e+c=ret\naws_session_token = tok==\n",
                  "tok==");
    assert_loaded(" {\"access_key_id\": \"AKID\", \"secret_access_key\": \"s/e+c=ret\"}", NULL);
}

static void assert_not_loaded(const char *text, mode_t mode, enum error_code code, const char *why)
{
    struct error error = ERROR_INIT;
    struct s3_credentials credentials;
    struct file file = write_file(text, mode);
    assert_int_equal(s3_credentials_load(file.path, &credentials, &error), -1);
    unlink(file.path);
    assert_int_equal(error.code, code);
    if (strstr(error.message, why) == NULL)
        fail_msg("no \"%s\" in \"%s\"", why, error.message);
    assert_null(strstr(error.message, "VERYSECRET"));
}

static void bad_files_are_refused_and_their_secrets_not_told(void **state)
{
    (void)state;
    const char fine[] = "access_key_id=A\nsecret_access_key=VERYSECRET\n";
    assert_not_loaded(fine, 0644, ERROR_DENIED, "chmod 600");
    assert_not_loaded(fine, 0640, ERROR_DENIED, "chmod 600");
    assert_not_loaded("access_key_id=A\n", 0600, ERROR_INVALID, "secret_access_key");
    assert_not_loaded("access_key_id=A\nVERYSECRET\n", 0600, ERROR_INVALID, "line 2");
    assert_not_loaded("access_key_id=A\nsecret=VERYSECRET\n", 0600, ERROR_INVALID, "line 2");
    assert_not_loaded("access_key_id=A\nsecret_access_key=VERYSECRET\nsecret_access_key=B\n", 0600,
                      ERROR_INVALID, "line 3");
    assert_not_loaded("access_key_id=A B\nsecret_access_key=VERYSECRET\n", 0600, ERROR_INVALID,
                      "characters");
    struct s3_credentials credentials;
    struct error error = ERROR_INIT;
    assert_int_equal(s3_credentials_load("/nonexistent/keys", &credentials, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
}

static void the_environment_is_the_other_place(void **state)
{
    (void)state;
    struct s3_credentials credentials;
    struct error error = ERROR_INIT;
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    unsetenv("AWS_SESSION_TOKEN");
    assert_int_equal(s3_credentials_load(NULL, &credentials, &error), -1);
    assert_non_null(strstr(error.message, "AWS_ACCESS_KEY_ID"));
    setenv("AWS_ACCESS_KEY_ID", "AKID", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "sec", 1);
    setenv("AWS_SESSION_TOKEN", "", 1);
    assert_int_equal(s3_credentials_load(NULL, &credentials, &error), 0);
    assert_string_equal(credentials.access_key_id, "AKID");
    assert_null(credentials.session_token);
    s3_credentials_release(&credentials);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_go_into_urls_are_plain),
        cmocka_unit_test(keys_come_from_json_or_lines),
        cmocka_unit_test(bad_files_are_refused_and_their_secrets_not_told),
        cmocka_unit_test(the_environment_is_the_other_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
