/* keygen and trust: making keys, and telling the cluster which ones count. */
#include "cli/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/lists.h"
#include "cli/passphrase.h"
#include "cli/scheduler.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/http_client.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define KEY_FILE_MAX 65536 /* bytes */

static int decrypt(const char *path, const char *pem, size_t length, struct private_key **ret_key,
                   struct error *error)
{
    struct passphrase passphrase;
    if (private_key_check_encrypted(pem, length, error) < 0)
        return error_wrap(error, "%s", path);
    if (passphrase_get(path, false, &passphrase, error) < 0)
        return -1;
    int result = private_key_from_encrypted_pem(pem, length, passphrase.text, passphrase.length,
                                                ret_key, error);
    passphrase_wipe(&passphrase);
    return result < 0 ? error_wrap(error, "%s", path) : 0;
}

int keys_load_private(const char *path, struct private_key **ret_key, struct error *error)
{
    AUTO_FREE char *pem = NULL;
    size_t length;
    if (file_read(path, KEY_FILE_MAX, &pem, &length, error) < 0)
        return error != NULL && error->code == ERROR_NOT_FOUND
                   ? error_set(error, ERROR_NOT_FOUND,
                               "there is no key %s: make one with `shoal keygen NAME`", path)
                   : -1;
    bool encrypted = private_key_is_encrypted(pem, length);
    int result = encrypted ? decrypt(path, pem, length, ret_key, error)
                           : private_key_from_pem(pem, length, ret_key, error);
    secret_wipe(pem, length);
    return result < 0 && !encrypted ? error_wrap(error, "%s", path) : result;
}

int keys_load_public(const char *path, struct public_key **ret_key, struct error *error)
{
    AUTO_FREE char *pem = NULL;
    size_t length;
    if (file_read(path, KEY_FILE_MAX, &pem, &length, error) < 0)
        return -1;
    if (public_key_from_pem(pem, length, ret_key, error) < 0)
        return error_wrap(error, "%s", path);
    return 0;
}

/* O_EXCL: a key that exists is never lost. */
static int write_new(const char *path, const char *text, mode_t mode, struct error *error)
{
    AUTO_CLOSE int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (descriptor < 0 && errno == EEXIST)
        return error_set(error, ERROR_CONFLICT,
                         "%s exists already: keys are never overwritten; choose another name or "
                         "move it away",
                         path);
    if (descriptor < 0)
        return error_set_errno(error, errno, "create %s", path);
    if (file_write_all(descriptor, text, strlen(text), error) < 0) {
        unlink(path);
        return error_wrap(error, "%s", path);
    }
    if (fchmod(descriptor, mode) < 0 || fsync(descriptor) < 0) {
        error_set_errno(error, errno, "write %s", path);
        unlink(path);
        return -1;
    }
    return 0;
}

static int refuse_existing(const char *path, struct error *error)
{
    if (access(path, F_OK) != 0)
        return 0;
    return error_set(error, ERROR_CONFLICT,
                     "%s exists already: keys are never overwritten; choose another name or "
                     "move it away",
                     path);
}

/* `passphrase` NULL: as it is. The text is wiped and freed by the caller. */
static int private_pem(const struct private_key *key, const struct passphrase *passphrase,
                       char **ret_pem, struct error *error)
{
    return passphrase == NULL ? private_key_to_pem(key, ret_pem, error)
                              : private_key_to_encrypted_pem(key, passphrase->text,
                                                             passphrase->length, ret_pem, error);
}

static int write_pair(const char *private_path, const char *public_path,
                      const struct private_key *key, const struct public_key *public,
                      const struct passphrase *passphrase, struct error *error)
{
    AUTO_FREE char *secret = NULL;
    AUTO_FREE char *public_pem = NULL;
    if (private_pem(key, passphrase, &secret, error) < 0 ||
        public_key_to_pem(public, &public_pem, error) < 0)
        return -1;
    int result = write_new(private_path, secret, 0600, error);
    secret_wipe(secret, strlen(secret));
    if (result < 0)
        return -1;
    if (write_new(public_path, public_pem, 0644, error) < 0) {
        unlink(private_path);
        return -1;
    }
    return 0;
}

static void print_pair(struct cli *cli, const char *private_path, const char *public_path,
                       const char *id, bool encrypted)
{
    if (!cli_wants_document(cli)) {
        printf("%s  the private key%s: keep it secret\n%s  the public key, id %s\n", private_path,
               encrypted ? ", under its password" : "", public_path, id);
        return;
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "private", json_object_new_string(private_path));
    json_object_object_add(document, "public", json_object_new_string(public_path));
    json_object_object_add(document, "id", json_object_new_string(id));
    json_object_object_add(document, "encrypted", json_object_new_boolean(encrypted));
    cli_print_document(cli, document);
}

static int make_pair(const char *private_path, const char *public_path,
                     const struct passphrase *passphrase, char ret_id[KEY_ID_MAX],
                     struct error *error)
{
    struct private_key *key = private_key_generate(error);
    if (key == NULL)
        return -1;
    struct public_key *public = private_key_public(key);
    public_key_id(public, ret_id);
    int result = write_pair(private_path, public_path, key, public, passphrase, error);
    private_key_destroy(key);
    public_key_destroy(public);
    return result;
}

int keygen_run(struct cli *cli, struct error *error)
{
    const char *name = cli_argument(cli, 0);
    if (name[0] == '\0' || name[strlen(name) - 1] == '/')
        return cli_refuse_usage(cli, error, "\"%s\": a key needs a name", name);
    AUTO_FREE char *private_path = xasprintf("%s.key", name);
    AUTO_FREE char *public_path = xasprintf("%s.pub", name);
    bool encrypted = invocation_has(cli->invocation, "passphrase") || passphrase_is_given();
    char id[KEY_ID_MAX];
    struct passphrase passphrase;
    /* Before anybody types a password for nothing. */
    if (refuse_existing(private_path, error) < 0 || refuse_existing(public_path, error) < 0 ||
        (encrypted && passphrase_get(private_path, true, &passphrase, error) < 0))
        return -1;
    int result = make_pair(private_path, public_path, encrypted ? &passphrase : NULL, id, error);
    if (encrypted)
        passphrase_wipe(&passphrase);
    if (result == 0)
        print_pair(cli, private_path, public_path, id, encrypted);
    return result;
}

/* "keys/shoal.pub" is the key "shoal". */
static int key_name(struct cli *cli, const char *path, char ret_name[NAME_MAX_TEXT],
                    struct error *error)
{
    const char *given = invocation_text(cli->invocation, "name");
    AUTO_FREE char *copy = xstrdup(path);
    char *name = given != NULL ? (char *)given : basename(copy);
    if (given == NULL && strchr(name, '.') != NULL)
        *strchr(name, '.') = '\0';
    if (!text_is_name(name))
        return cli_refuse_usage(cli, error,
                                "\"%s\" cannot be a key's name: 1 to 63 of a-z, 0-9 and -, with a "
                                "letter or digit at both ends; give one with --name",
                                name);
    strcpy(ret_name, name);
    return 0;
}

int trust_add_run(struct cli *cli, struct error *error)
{
    const char *file = cli_argument(cli, 0);
    char name[NAME_MAX_TEXT], id[KEY_ID_MAX];
    AUTO_FREE char *pem = NULL;
    struct public_key *key = NULL;
    if (key_name(cli, file, name, error) < 0 || keys_load_public(file, &key, error) < 0)
        return -1;
    public_key_id(key, id);
    int result = public_key_to_pem(key, &pem, error);
    public_key_destroy(key);
    if (result < 0)
        return -1;
    AUTO_FREE char *path = xasprintf("/v1/keys/%s", name);
    AUTO_JSON struct json_object *body = json_object_new_object();
    json_object_object_add(body, "pem", json_object_new_string(pem));
    if (session_call(cli_session(cli), "PUT", path, body, NULL, error) < 0)
        return -1;
    if (!cli_wants_document(cli)) {
        printf("%s: trusted, id %s\n", name, id);
        return 0;
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "name", json_object_new_string(name));
    json_object_object_add(document, "id", json_object_new_string(id));
    cli_print_document(cli, document);
    return 0;
}

int trust_list_run(struct cli *cli, struct error *error)
{
    static const struct table_column columns[] = {
        {"NAME", .right = false}, {"ID", .right = false}, {NULL, false, false}};
    struct view_list AUTO_VIEWS keys = {0};
    if (scheduler_keys(cli, &keys, error) < 0)
        return -1;
    if (cli_wants_document(cli)) {
        cli_print_document(cli, json_object_get(keys.document));
        return 0;
    }
    struct table *table = table_create(columns);
    const struct api_key *views = keys.items;
    for (size_t i = 0; i < keys.count; i++) {
        table_cell(table, "%s", views[i].name);
        table_cell(table, "%s", views[i].id);
    }
    lists_print_table(cli, table);
    return 0;
}
