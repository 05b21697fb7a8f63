#include "agent/freshness.h"

#include <inttypes.h>
#include <string.h>

int freshness_judge(const struct freshness *applied, const struct freshness *offered,
                    const char *what, struct error *error)
{
    if (applied->cluster[0] != '\0' && strcmp(applied->cluster, offered->cluster) != 0)
        return error_set(error, ERROR_CONFLICT,
                         "%s of cluster %s refused: this agent belongs to cluster %s; give it "
                         "another --state to move it",
                         what, offered->cluster, applied->cluster);
    if (offered->term < applied->term ||
        (offered->term == applied->term && offered->revision < applied->revision))
        return error_set(error, ERROR_STALE,
                         "%s refused: term %" PRIu64 " revision %" PRIu64
                         " is older than term %" PRIu64 " revision %" PRIu64 " applied here",
                         what, offered->term, offered->revision, applied->term, applied->revision);
    return offered->term != applied->term || offered->revision != applied->revision;
}
