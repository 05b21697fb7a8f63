#include "registry/metadata/schema.h"

#include <string.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "registry/manifest_reader.h"
#include "registry/metadata/metadata.h"

static const char format_1[] =
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
    "CREATE TABLE uploads (id TEXT PRIMARY KEY, repository TEXT NOT NULL) WITHOUT ROWID;";

/* Times are milliseconds since 1970. A size is NULL until it was learnt: only in files that came
 * from format 1. `used` is kept by triggers, so that no statement can forget it. `companion` is the
 * digest that a tag of cosign's ("sha256-<hex>.sig") belongs to. */
static const char format_2[] =
    "ALTER TABLE repositories ADD COLUMN used INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE blobs ADD COLUMN size INTEGER;"
    "ALTER TABLE blobs ADD COLUMN added INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX blobs_unsized ON blobs (digest) WHERE size IS NULL;"
    "ALTER TABLE manifests ADD COLUMN size INTEGER;"
    "ALTER TABLE manifests ADD COLUMN pushed INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE manifests ADD COLUMN artifact_type TEXT;"
    "ALTER TABLE manifests ADD COLUMN annotations TEXT;"
    "CREATE INDEX manifests_unread ON manifests (id) WHERE size IS NULL;"
    "CREATE INDEX manifests_by_artifact_type ON manifests (repository, subject, artifact_type)"
    "  WHERE subject IS NOT NULL;"
    "CREATE TABLE manifest_references ("
    "  manifest INTEGER NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,"
    "  digest TEXT NOT NULL, kind INTEGER NOT NULL,"
    "  repository INTEGER NOT NULL," /* the manifest's */
    "  PRIMARY KEY (manifest, digest, kind)) WITHOUT ROWID;"
    "CREATE INDEX manifest_references_by_digest ON manifest_references (repository, digest, kind);"
    "ALTER TABLE tags ADD COLUMN set_at INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tags ADD COLUMN companion TEXT GENERATED ALWAYS AS ("
    "  CASE WHEN name GLOB 'sha256-*' AND substr(name, 72) IN ('.sig', '.att', '.sbom')"
    "  AND substr(name, 8, 64) NOT GLOB '*[^0-9a-f]*'"
    "  THEN 'sha256:' || substr(name, 8, 64) END) VIRTUAL;"
    "CREATE INDEX tags_by_companion ON tags (repository, companion) WHERE companion IS NOT NULL;"
    "ALTER TABLE uploads ADD COLUMN created INTEGER NOT NULL DEFAULT 0;"
    "UPDATE blobs SET added = unixepoch() * 1000;"
    "UPDATE manifests SET pushed = unixepoch() * 1000;"
    "UPDATE tags SET set_at = unixepoch() * 1000;"
    "UPDATE uploads SET created = unixepoch() * 1000;"
    "CREATE TRIGGER blob_added AFTER INSERT ON blobs BEGIN"
    "  UPDATE repositories SET used = used + coalesce(NEW.size, 0) WHERE id = NEW.repository; END;"
    "CREATE TRIGGER blob_sized AFTER UPDATE OF size ON blobs BEGIN"
    "  UPDATE repositories SET used = used + coalesce(NEW.size, 0) - coalesce(OLD.size, 0)"
    "  WHERE id = NEW.repository AND NEW.size IS NOT OLD.size; END;"
    "CREATE TRIGGER blob_removed AFTER DELETE ON blobs BEGIN"
    "  UPDATE repositories SET used = used - coalesce(OLD.size, 0) WHERE id = OLD.repository; END;"
    "CREATE TRIGGER manifest_added AFTER INSERT ON manifests BEGIN"
    "  UPDATE repositories SET used = used + coalesce(NEW.size, 0) WHERE id = NEW.repository; END;"
    "CREATE TRIGGER manifest_sized AFTER UPDATE OF size ON manifests BEGIN"
    "  UPDATE repositories SET used = used + coalesce(NEW.size, 0) - coalesce(OLD.size, 0)"
    "  WHERE id = NEW.repository AND NEW.size IS NOT OLD.size; END;"
    "CREATE TRIGGER manifest_removed AFTER DELETE ON manifests BEGIN"
    "  UPDATE repositories SET used = used - coalesce(OLD.size, 0) WHERE id = OLD.repository; END;";

const char *const schema_migrations[] = {format_1, format_2, NULL};

#define REPOSITORY_ID "(SELECT id FROM repositories WHERE name = ?1)"
/* SQLite 3.40 does not see by itself that a search for a companion may use this index. */
#define BY_COMPANION "INDEXED BY tags_by_companion"
#define REFERRERS                                                                                  \
    "SELECT digest, media_type, size, artifact_type, annotations, id FROM manifests"               \
    " WHERE repository = " REPOSITORY_ID " AND subject = ?2 AND id > ?3"
const char *const schema_statements[STATEMENT_COUNT] = {
    [HAS_REPOSITORY] = "SELECT 1 FROM repositories WHERE name = ?1",
    [ADD_REPOSITORY] = "INSERT INTO repositories (name) VALUES (?1) ON CONFLICT DO NOTHING",
    [GET_USED] = "SELECT used FROM repositories WHERE name = ?1",
    [HAS_BLOB] = "SELECT 1 FROM blobs WHERE repository = " REPOSITORY_ID " AND digest = ?2",
    [ADD_BLOB] = "INSERT INTO blobs (repository, digest, size, added)"
                 " VALUES (" REPOSITORY_ID ", ?2, ?3, ?4)"
                 " ON CONFLICT DO UPDATE SET size = ?3, added = ?4",
    [MOUNT_BLOB] = "INSERT INTO blobs (repository, digest, size, added)"
                   " SELECT " REPOSITORY_ID ", digest, size, ?4 FROM blobs"
                   " WHERE repository = (SELECT id FROM repositories WHERE name = ?3)"
                   " AND digest = ?2 ON CONFLICT DO UPDATE SET added = ?4",
    [REMOVE_BLOB] = "DELETE FROM blobs WHERE repository = " REPOSITORY_ID " AND digest = ?2",
    [HAS_DIGEST] = "SELECT 1 FROM blobs WHERE digest = ?1 LIMIT 1",
    [EACH_HOLDER] = "SELECT name FROM blobs JOIN repositories ON repositories.id = blobs.repository"
                    " WHERE digest = ?1",
    [NEXT_UNSIZED] = "SELECT digest FROM blobs WHERE size IS NULL LIMIT 1",
    [SIZE_BLOBS] = "UPDATE blobs SET size = ?2 WHERE digest = ?1",
    [HAS_MANIFEST] = "SELECT 1 FROM manifests WHERE repository = " REPOSITORY_ID " AND digest = ?2",
    [PUT_MANIFEST] =
        "INSERT INTO manifests (repository, digest, media_type, subject, bytes, size,"
        " artifact_type, annotations, pushed)"
        " VALUES (" REPOSITORY_ID ", ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        /* The bytes too: they are the digest's, which those that were stored may be no more. */
        " ON CONFLICT (repository, digest) DO UPDATE SET media_type = ?3, subject = ?4, bytes = ?5,"
        " size = ?6, artifact_type = ?7, annotations = ?8, pushed = ?9 RETURNING id",
    [ADD_REFERENCE] = "INSERT INTO manifest_references (manifest, digest, kind, repository)"
                      " VALUES (?1, ?2, ?3, (SELECT repository FROM manifests WHERE id = ?1))"
                      " ON CONFLICT DO NOTHING",
    [GET_TAG] = "SELECT digest FROM tags JOIN manifests ON manifests.id = tags.manifest"
                " WHERE tags.repository = " REPOSITORY_ID " AND tags.name = ?2",
    [PUT_TAG] = "INSERT INTO tags (repository, name, manifest, set_at)"
                " VALUES (" REPOSITORY_ID ", ?2, ?3, ?4) ON CONFLICT (repository, name)"
                " DO UPDATE SET manifest = excluded.manifest, set_at = excluded.set_at",
    [GET_BY_DIGEST] = "SELECT digest, media_type, subject, bytes, id FROM manifests"
                      " WHERE repository = " REPOSITORY_ID " AND digest = ?2",
    [GET_BY_TAG] = "SELECT digest, media_type, subject, bytes, id FROM tags"
                   " JOIN manifests ON manifests.id = tags.manifest"
                   " WHERE tags.repository = " REPOSITORY_ID " AND tags.name = ?2",
    [FIND_INDEX] = "SELECT m.digest FROM manifest_references r"
                   " JOIN manifests m ON m.id = r.manifest"
                   " WHERE r.repository = " REPOSITORY_ID " AND r.digest = ?2 AND r.kind = 1"
                   " AND m.digest <> ?2 LIMIT 1",
    [REMOVE_MANIFEST] =
        "DELETE FROM manifests WHERE repository = " REPOSITORY_ID " AND digest = ?2",
    [REMOVE_TAG] = "DELETE FROM tags WHERE repository = " REPOSITORY_ID " AND name = ?2",
    [LIST_TAGS] = "SELECT name FROM tags WHERE repository = " REPOSITORY_ID
                  " AND name > ?2 ORDER BY name LIMIT ?3",
    [EACH_TAG] = "SELECT tags.name, manifests.digest, set_at FROM tags"
                 " JOIN manifests ON manifests.id = tags.manifest"
                 " WHERE tags.repository = " REPOSITORY_ID " ORDER BY tags.name",
    [EACH_TAG_OF] = "SELECT name FROM tags WHERE manifest = (SELECT id FROM manifests"
                    " WHERE repository = " REPOSITORY_ID " AND digest = ?2) ORDER BY name",
    [LIST_REPOSITORIES] = "SELECT name FROM repositories WHERE name > ?1 ORDER BY name LIMIT ?2",
    [LIST_REFERRERS] = REFERRERS " ORDER BY id",
    [LIST_REFERRERS_OF_TYPE] = REFERRERS " AND artifact_type = ?4 ORDER BY id",
    [ADD_UPLOAD] = "INSERT INTO uploads (id, repository, created) VALUES (?1, ?2, ?3)",
    [HAS_UPLOAD] = "SELECT 1 FROM uploads WHERE id = ?1 AND repository = ?2",
    [REMOVE_UPLOAD] = "DELETE FROM uploads WHERE id = ?1",
    [LIST_UPLOADS] = "SELECT id FROM uploads WHERE created < ?2 AND id > ?1 ORDER BY id LIMIT ?3",
    /* Manifests of repository ?1 that nothing keeps; those pushed since ?2 keep themselves. What a
     * live one lists is live, and so is what has a live one as its subject, by a referrer's
     * `subject` or by the name of cosign's tag, which alone keeps nothing. The newest first. */
    [FIND_DEAD] =
        "WITH RECURSIVE live (id, digest) AS ("
        " SELECT id, digest FROM manifests WHERE repository = " REPOSITORY_ID " AND (pushed >= ?2"
        "  OR id IN (SELECT manifest FROM temp.kept)"
        "  OR EXISTS (SELECT 1 FROM tags WHERE manifest = manifests.id AND companion IS NULL))"
        " UNION SELECT m.id, m.digest FROM live CROSS JOIN manifest_references r"
        "  ON r.manifest = live.id"
        "  CROSS JOIN manifests m ON m.repository = r.repository AND m.digest = r.digest"
        " UNION SELECT m.id, m.digest FROM live CROSS JOIN manifests m"
        "  ON m.repository = " REPOSITORY_ID " AND m.subject = live.digest"
        " UNION SELECT m.id, m.digest FROM live CROSS JOIN tags t " BY_COMPANION
        "  ON t.repository = " REPOSITORY_ID " AND t.companion = live.digest"
        "  CROSS JOIN manifests m ON m.id = t.manifest)"
        " SELECT id, size, digest FROM manifests WHERE repository = " REPOSITORY_ID
        " AND id NOT IN (SELECT id FROM live) ORDER BY id DESC",
    /* The same the other way: manifest ?1 and all that could keep it, and which of these keep
     * themselves. */
    [LIST_KEEPERS] =
        "WITH RECURSIVE keeper (id, repository, digest, subject, pushed) AS ("
        " SELECT id, repository, digest, subject, pushed FROM manifests WHERE id = ?1"
        " UNION SELECT m.id, m.repository, m.digest, m.subject, m.pushed FROM keeper k"
        "  CROSS JOIN manifest_references r ON r.repository = k.repository AND r.digest = k.digest"
        "  CROSS JOIN manifests m ON m.id = r.manifest"
        " UNION SELECT m.id, m.repository, m.digest, m.subject, m.pushed FROM keeper k"
        "  CROSS JOIN manifests m ON m.repository = k.repository AND m.digest = k.subject"
        " UNION SELECT m.id, m.repository, m.digest, m.subject, m.pushed FROM keeper k"
        "  CROSS JOIN tags t ON t.manifest = k.id"
        "  CROSS JOIN manifests m ON m.repository = k.repository AND m.digest = t.companion)"
        " SELECT digest, pushed >= ?2"
        "  OR EXISTS (SELECT 1 FROM tags WHERE manifest = keeper.id AND companion IS NULL)"
        " FROM keeper",
    [KEEP_MANIFEST] = "INSERT OR IGNORE INTO temp.kept VALUES (?1)",
    [REMOVE_DEAD] = "DELETE FROM manifests WHERE id = ?1",
    [NOTE_DEAD] = "INSERT OR IGNORE INTO temp.dead VALUES (?1)",
    [SCAN_BLOBS] = "SELECT b.repository, n.name, b.digest, coalesce(b.size, 0), b.added,"
                   " EXISTS (SELECT 1 FROM manifest_references r WHERE r.repository = b.repository"
                   "  AND r.digest = b.digest"
                   "  AND r.manifest NOT IN (SELECT manifest FROM temp.dead))"
                   " FROM blobs b JOIN repositories n ON n.id = b.repository"
                   " WHERE (b.repository, b.digest) > (?1, ?2)"
                   " ORDER BY b.repository, b.digest LIMIT ?3",
    [SWEEP_BLOB] = "DELETE FROM blobs WHERE repository = ?1 AND digest = ?2 AND added < ?3"
                   " AND NOT EXISTS (SELECT 1 FROM manifest_references r"
                   "  WHERE r.repository = ?1 AND r.digest = ?2)",
    [NOTE_GONE] = "INSERT OR IGNORE INTO temp.gone VALUES (?1, ?2)",
    [IS_LEFT] = "SELECT 1 FROM blobs b WHERE b.digest = ?1"
                " AND NOT EXISTS (SELECT 1 FROM temp.gone g"
                "  WHERE g.repository = b.repository AND g.digest = b.digest) LIMIT 1",
    [LIST_EMPTY] = "SELECT name FROM repositories n WHERE name > ?1"
                   " AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.repository = n.id"
                   "  AND NOT EXISTS (SELECT 1 FROM temp.gone g"
                   "   WHERE g.repository = b.repository AND g.digest = b.digest))"
                   " AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository = n.id"
                   "  AND m.id NOT IN (SELECT manifest FROM temp.dead))"
                   " ORDER BY name LIMIT ?2",
    [REMOVE_EMPTY] = "DELETE FROM repositories WHERE name = ?1"
                     " AND NOT EXISTS (SELECT 1 FROM blobs WHERE repository = repositories.id)"
                     " AND NOT EXISTS (SELECT 1 FROM manifests WHERE repository = repositories.id)",
    [FIND_TAGGED] = "SELECT m.id, m.digest FROM tags t JOIN manifests m ON m.id = t.manifest"
                    " WHERE t.repository = " REPOSITORY_ID " AND t.name = ?2",
    [HAS_TAGS] = "SELECT 1 FROM tags WHERE manifest = ?1 LIMIT 1",
    /* What lists it, and what it is about. */
    [HAS_HOLDER] = "SELECT 1 FROM manifests m JOIN manifest_references r"
                   " ON r.repository = m.repository AND r.digest = m.digest AND r.kind = 1"
                   " WHERE m.id = ?1 AND r.manifest <> ?1"
                   " UNION ALL SELECT 1 FROM manifests m JOIN manifests s"
                   " ON s.repository = m.repository AND s.digest = m.subject"
                   " WHERE m.id = ?1 AND s.id <> ?1 LIMIT 1",
    /* What it lists, what is about it, and what cosign's tags for it point at. */
    [LIST_HELD] = "SELECT c.id FROM manifest_references r JOIN manifests c"
                  " ON c.repository = r.repository AND c.digest = r.digest"
                  " WHERE r.manifest = ?1 AND r.kind = 1"
                  " UNION SELECT f.id FROM manifests m JOIN manifests f"
                  " ON f.repository = m.repository AND f.subject = m.digest WHERE m.id = ?1"
                  " UNION SELECT t.manifest FROM manifests m JOIN tags t " BY_COMPANION
                  " ON t.repository = m.repository AND t.companion = m.digest WHERE m.id = ?1",
    [REMOVE_COMPANIONS] = "DELETE FROM tags " BY_COMPANION
                          " WHERE repository = (SELECT repository FROM manifests WHERE id = ?1)"
                          " AND companion = (SELECT digest FROM manifests WHERE id = ?1)",
    [GET_SIZE] = "SELECT coalesce(size, 0), digest FROM manifests WHERE id = ?1",
    [LIST_DIGESTS] = "SELECT DISTINCT digest FROM blobs WHERE digest > ?1 ORDER BY digest LIMIT ?2",
    [NEXT_MANIFEST] = "SELECT m.id, n.name, m.digest, m.bytes FROM manifests m"
                      " JOIN repositories n ON n.id = m.repository WHERE m.id > ?1"
                      " ORDER BY m.id LIMIT 1",
    /* By the repositories that hold it, so that an index finds the references. */
    [LIST_USERS] = "SELECT DISTINCT n.name || coalesce(':' || t.name, '@' || m.digest)"
                   " FROM blobs b JOIN manifest_references r"
                   " ON r.repository = b.repository AND r.digest = b.digest"
                   " JOIN manifests m ON m.id = r.manifest"
                   " JOIN repositories n ON n.id = b.repository"
                   " LEFT JOIN tags t ON t.manifest = m.id WHERE b.digest = ?1 LIMIT ?2",
    [TOTALS] = "SELECT count(*), coalesce(sum(used), 0), (SELECT count(*) FROM uploads)"
               " FROM repositories",
};

/* --- from format 1: what stands in the manifests' bytes --- */

struct unread {
    int64_t id;
    char *media_type;
    char *bytes;
    size_t length;
};

/* One at a time, so that the memory is one manifest's. */
static int next_unread(struct database_statement *next, struct unread *ret_unread,
                       struct error *error)
{
    int found = database_step(next, error);
    if (found != 1)
        return found;
    const void *bytes = database_column_blob(next, 2, &ret_unread->length);
    ret_unread->id = database_column_int(next, 0);
    ret_unread->media_type = xstrdup(database_column_text(next, 1));
    ret_unread->bytes = xmemdup(bytes != NULL ? bytes : "", ret_unread->length);
    database_reset(next);
    return 1;
}

static int add_references(struct database_statement *add, int64_t id, enum reference_kind kind,
                          const struct json_strings *digests, struct error *error)
{
    for (size_t i = 0; i < digests->count; i++) {
        database_bind_int(add, 1, id);
        database_bind_text(add, 2, digests->items[i]);
        database_bind_int(add, 3, kind);
        if (database_run(add, error) < 0)
            return -1;
    }
    return 0;
}

/* A manifest that an older version took and this one would not refers to nothing. */
static int read_one(const struct unread *unread, struct database_statement *set,
                    struct database_statement *add, struct error *error)
{
    struct metadata_manifest manifest = {0};
    struct metadata_references references = {0};
    struct error why = ERROR_INIT;
    if (manifest_read(unread->bytes, unread->length, unread->media_type, &manifest, &references,
                      &why) < 0)
        log_warn("a manifest of an older format cannot be read", "row",
                 LOG_NUMBER((uint64_t)unread->id), "error", why.message);
    database_bind_int(set, 1, unread->id);
    database_bind_int(set, 2, (int64_t)unread->length);
    database_bind_text(set, 3, manifest.artifact_type);
    database_bind_text(set, 4, manifest.annotations);
    int result = database_run(set, error);
    if (result == 0)
        result = add_references(add, unread->id, REFERENCE_BLOB, &references.blobs, error);
    if (result == 0)
        result = add_references(add, unread->id, REFERENCE_BLOB, &references.elsewhere, error);
    if (result == 0)
        result = add_references(add, unread->id, REFERENCE_MANIFEST, &references.manifests, error);
    metadata_manifest_finish(&manifest);
    metadata_references_finish(&references);
    return result;
}

static int read_all(struct database_statement *next, struct database_statement *set,
                    struct database_statement *add, struct error *error)
{
    struct unread unread;
    int found;
    while ((found = next_unread(next, &unread, error)) == 1) {
        int result = read_one(&unread, set, add, error);
        free(unread.media_type);
        free(unread.bytes);
        if (result < 0)
            return -1;
    }
    return found;
}

int schema_read_manifests(struct database *database, struct error *error)
{
    struct database_statement *next = NULL, *set = NULL, *add = NULL;
    int result = database_prepare(
        database, "SELECT id, media_type, bytes FROM manifests WHERE size IS NULL LIMIT 1", &next,
        error);
    if (result == 0)
        result = database_prepare(database,
                                  "UPDATE manifests SET size = ?2, artifact_type = ?3,"
                                  " annotations = ?4 WHERE id = ?1",
                                  &set, error);
    if (result == 0)
        result = database_prepare(database, schema_statements[ADD_REFERENCE], &add, error);
    if (result == 0 && (result = database_begin(database, error)) == 0) {
        result = read_all(next, set, add, error);
        if (result == 0)
            result = database_commit(database, error);
        if (result < 0)
            database_rollback(database);
    }
    database_statement_destroy(next);
    database_statement_destroy(set);
    database_statement_destroy(add);
    return result < 0 ? error_wrap(error, "read the manifests of an older format") : 0;
}
