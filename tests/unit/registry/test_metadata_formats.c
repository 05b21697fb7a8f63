/* A database of format 1, with things in it, opened by this version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/database.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "registry/metadata/metadata.h"

#define CONFIG  "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LAYER   "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define FOREIGN "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define IMAGE   "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define INDEX   "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define PROOF   "sha256:3333333333333333333333333333333333333333333333333333333333333333"
#define ODD     "sha256:4444444444444444444444444444444444444444444444444444444444444444"

/* As the first version made it. */
static const char *const format_1[] = {
    "CREATE TABLE repositories (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    "CREATE TABLE blobs ("
    "  repository INTEGER NOT NULL REFERENCES repositories (id), digest TEXT NOT NULL,"
    "  PRIMARY KEY (repository, digest)) WITHOUT ROWID;"
    "CREATE INDEX blobs_by_digest ON blobs (digest);"
    "CREATE TABLE manifests ("
    "  id INTEGER PRIMARY KEY,"
    "  repository INTEGER NOT NULL REFERENCES repositories (id), digest TEXT NOT NULL,"
    "  media_type TEXT NOT NULL, subject TEXT, bytes BLOB NOT NULL,"
    "  UNIQUE (repository, digest));"
    "CREATE INDEX manifests_by_subject ON manifests (repository, subject)"
    "  WHERE subject IS NOT NULL;"
    "CREATE TABLE tags ("
    "  repository INTEGER NOT NULL REFERENCES repositories (id), name TEXT NOT NULL,"
    "  manifest INTEGER NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,"
    "  PRIMARY KEY (repository, name)) WITHOUT ROWID;"
    "CREATE INDEX tags_by_manifest ON tags (manifest);"
    "CREATE TABLE uploads (id TEXT PRIMARY KEY, repository TEXT NOT NULL) WITHOUT ROWID;",
    NULL};

static const char image_text[] =
    "{\"schemaVersion\": 2, \"config\": {\"mediaType\": \"type/config\", \"digest\": \"" CONFIG
    "\"}, \"layers\": [{\"digest\": \"" LAYER "\"}, {\"digest\": \"" FOREIGN
    "\", \"urls\": [\"https://elsewhere.example/\"]}]}";
static const char index_text[] =
    "{\"schemaVersion\": 2, \"manifests\": [{\"digest\": \"" IMAGE "\"}]}";
static const char proof_text[] =
    "{\"schemaVersion\": 2, \"artifactType\": \"type/proof\", \"annotations\": {\"k\": \"v\"},"
    " \"subject\": {\"digest\": \"" IMAGE "\"}}";
static const char odd_text[] = "no manifest at all";

static void add_manifest(struct database *database, const char *digest, const char *subject,
                         const char *text)
{
    struct database_statement *insert = NULL;
    assert_int_equal(database_prepare(database,
                                      "INSERT INTO manifests (repository, digest, media_type,"
                                      " subject, bytes) VALUES (1, ?1, 'type/x', ?2, ?3)",
                                      &insert, NULL),
                     0);
    database_bind_text(insert, 1, digest);
    database_bind_text(insert, 2, subject);
    database_bind_blob(insert, 3, text, strlen(text));
    assert_int_equal(database_run(insert, NULL), 0);
    database_statement_destroy(insert);
}

static void fill(const char *path)
{
    struct database *database = NULL;
    assert_int_equal(database_open(path, format_1, &database, NULL), 0);
    assert_int_equal(database_execute(database,
                                      "INSERT INTO repositories VALUES (1, 'r');"
                                      "INSERT INTO blobs VALUES (1, '" CONFIG "'), (1, '" LAYER
                                      "'),"
                                      " (1, '" FOREIGN "');"
                                      "INSERT INTO uploads VALUES ('id1', 'r');",
                                      NULL),
                     0);
    add_manifest(database, IMAGE, NULL, image_text);
    add_manifest(database, INDEX, NULL, index_text);
    add_manifest(database, PROOF, IMAGE, proof_text);
    add_manifest(database, ODD, NULL, odd_text);
    assert_int_equal(database_execute(database, "INSERT INTO tags VALUES (1, 'v1', 2)", NULL), 0);
    database_close(database);
}

struct place {
    char folder[64];
    char *path;
    struct metadata *metadata;
};

static void open_metadata(struct place *place)
{
    struct error error = ERROR_INIT;
    if (metadata_open(place->path, &place->metadata, &error) < 0)
        fail_msg("%s", error.message);
}

static int make_place(void **state)
{
    struct place *place = xcalloc(1, sizeof *place);
    snprintf(place->folder, sizeof place->folder, "/tmp/shoal-formats-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    place->path = xasprintf("%s/metadata.db", place->folder);
    fill(place->path);
    open_metadata(place);
    *state = place;
    return 0;
}

static int remove_place(void **state)
{
    struct place *place = *state;
    metadata_close(place->metadata);
    assert_int_equal(file_remove_tree(place->folder, NULL), 0);
    free(place->path);
    free(place);
    return 0;
}

/* What a statement answers, in the file beside the open metadata. */
static int64_t ask(struct place *place, const char *sql)
{
    struct database *database = NULL;
    struct database_statement *statement = NULL;
    struct error error = ERROR_INIT;
    assert_int_equal(database_open_reader(place->path, &database, NULL), 0);
    if (database_prepare(database, sql, &statement, &error) < 0 ||
        database_step(statement, &error) != 1)
        fail_msg("%s: %s", sql, error.message);
    int64_t value = database_column_int(statement, 0);
    database_statement_destroy(statement);
    database_close(database);
    return value;
}

static bool expect_proof(const struct metadata_referrer *referrer, void *data)
{
    assert_string_equal(referrer->digest, PROOF);
    assert_int_equal(referrer->size, strlen(proof_text));
    assert_string_equal(referrer->artifact_type, "type/proof");
    assert_string_equal(referrer->annotations, "{\"k\":\"v\"}");
    ++*(int *)data;
    return true;
}

static void what_was_stored_is_still_there(void **state)
{
    struct place *place = *state;
    const struct metadata_manifest *manifest = NULL;
    assert_int_equal(metadata_get_manifest(place->metadata, "r", "v1", &manifest, NULL), 1);
    assert_string_equal(manifest->digest, INDEX);
    assert_int_equal(manifest->length, strlen(index_text));
    assert_memory_equal(manifest->bytes, index_text, strlen(index_text));
    metadata_manifest_release(manifest);
    assert_int_equal(metadata_get_manifest(place->metadata, "r", ODD, &manifest, NULL), 1);
    metadata_manifest_release(manifest);
    assert_int_equal(metadata_has_blob(place->metadata, "r", LAYER, NULL), 1);
    assert_int_equal(metadata_has_upload(place->metadata, "id1", "r", NULL), 1);
}

static void references_are_read_from_the_manifests(void **state)
{
    struct place *place = *state;
    struct metadata_refusal refusal = {0};
    int count = 0;
    assert_int_equal(metadata_list_referrers(place->metadata, "r", IMAGE, "type/proof", 0,
                                             expect_proof, &count, NULL),
                     0);
    assert_int_equal(count, 1);
    assert_int_equal(ask(place, "SELECT count(*) FROM manifest_references WHERE kind = 0"), 3);
    assert_int_equal(ask(place, "SELECT count(*) FROM manifests WHERE size IS NULL"), 0);
    assert_int_equal(
        ask(place, "SELECT count(*) FROM manifests WHERE artifact_type = 'type/config'"), 1);
    assert_int_equal(metadata_remove_manifest(place->metadata, "r", IMAGE, NULL, &refusal, NULL),
                     0);
    assert_int_equal(refusal.reason, METADATA_LISTED);
    assert_string_equal(refusal.name, INDEX);
}

static void things_count_as_new(void **state)
{
    struct place *place = *state;
    int64_t now = (int64_t)clock_wall_ms(clock_system());
    assert_in_range(now - ask(place, "SELECT min(added) FROM blobs"), 0, 600000);
    assert_in_range(now - ask(place, "SELECT min(pushed) FROM manifests"), 0, 600000);
    assert_in_range(now - ask(place, "SELECT min(set_at) FROM tags"), 0, 600000);
    assert_in_range(now - ask(place, "SELECT min(created) FROM uploads"), 0, 600000);
}

static int say_size(const char *digest, void *data, uint64_t *ret_size, struct error *error)
{
    (void)error;
    ++*(int *)data;
    *ret_size = strcmp(digest, LAYER) == 0 ? 1000 : 10;
    return 0;
}

static void sizes_are_learnt_once(void **state)
{
    struct place *place = *state;
    uint64_t used = 0;
    uint64_t manifests =
        strlen(image_text) + strlen(index_text) + strlen(proof_text) + strlen(odd_text);
    int asked = 0;
    assert_int_equal(metadata_get_used(place->metadata, "r", &used, NULL), 0);
    assert_int_equal(used, manifests);
    assert_int_equal(metadata_learn_sizes(place->metadata, say_size, &asked, NULL), 0);
    assert_int_equal(asked, 3);
    assert_int_equal(metadata_learn_sizes(place->metadata, say_size, &asked, NULL), 0);
    assert_int_equal(asked, 3);
    assert_int_equal(metadata_get_used(place->metadata, "r", &used, NULL), 0);
    assert_int_equal(used, manifests + 1020);
}

static void a_copy_of_the_older_format_is_kept(void **state)
{
    struct place *place = *state;
    AUTO_FREE char *backup = xasprintf("%s.format-1.backup", place->path);
    struct database *database = NULL;
    assert_int_equal(database_open(backup, format_1, &database, NULL), 0);
    database_close(database);
    metadata_close(place->metadata); /* and the newer one opens again as it is */
    open_metadata(place);
    assert_int_equal(ask(place, "SELECT count(*) FROM manifest_references"), 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_stored_is_still_there),
        TEST(references_are_read_from_the_manifests),
        TEST(things_count_as_new),
        TEST(sizes_are_learnt_once),
        TEST(a_copy_of_the_older_format_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
