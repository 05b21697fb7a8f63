#include "registry/storage/s3_presign.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/http_client.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* "20130524T000000Z"; its first 8 characters are the day. */
#define TIME_MAX 17

static void format_time(uint64_t wall_s, char ret_text[TIME_MAX])
{
    struct tm parts;
    time_t seconds = (time_t)wall_s;
    gmtime_r(&seconds, &parts);
    strftime(ret_text, TIME_MAX, "%Y%m%dT%H%M%SZ", &parts);
}

static void mac_of_text(const unsigned char key[HMAC_SHA256_LENGTH], const char *text,
                        unsigned char ret_mac[HMAC_SHA256_LENGTH])
{
    hmac_sha256(key, HMAC_SHA256_LENGTH, text, strlen(text), ret_mac);
}

/* The key of one day, region and service. */
static void derive_key(const struct s3_presign *presign, const char *day,
                       unsigned char ret_key[HMAC_SHA256_LENGTH])
{
    unsigned char of_day[HMAC_SHA256_LENGTH], of_region[HMAC_SHA256_LENGTH];
    unsigned char of_service[HMAC_SHA256_LENGTH];
    AUTO_FREE char *secret = xasprintf("AWS4%s", presign->secret_access_key);
    hmac_sha256(secret, strlen(secret), day, strlen(day), of_day);
    mac_of_text(of_day, presign->region, of_region);
    mac_of_text(of_region, "s3", of_service);
    mac_of_text(of_service, "aws4_request", ret_key);
}

/* The query that is signed: its keys are in the order that the signature wants. */
static char *query_of(const struct s3_presign *presign, const char *scope, const char *time)
{
    struct buffer query = {0};
    AUTO_FREE char *credential = xasprintf("%s/%s", presign->access_key_id, scope);
    AUTO_FREE char *encoded = http_encode_segment(credential);
    buffer_printf(&query,
                  "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%s&X-Amz-Date=%s"
                  "&X-Amz-Expires=%llu",
                  encoded, time, (unsigned long long)presign->lifetime_s);
    if (presign->session_token != NULL) {
        AUTO_FREE char *token = http_encode_segment(presign->session_token);
        buffer_printf(&query, "&X-Amz-Security-Token=%s", token);
    }
    buffer_append_text(&query, "&X-Amz-SignedHeaders=host");
    return buffer_take(&query);
}

char *s3_presign_get(const struct s3_presign *presign)
{
    char time[TIME_MAX], digest[DIGEST_TEXT_MAX], signature[2 * HMAC_SHA256_LENGTH + 1];
    unsigned char key[HMAC_SHA256_LENGTH], mac[HMAC_SHA256_LENGTH];
    format_time(presign->wall_s, time);
    AUTO_FREE char *day = xstrndup(time, 8);
    AUTO_FREE char *scope = xasprintf("%s/%s/s3/aws4_request", day, presign->region);
    AUTO_FREE char *query = query_of(presign, scope, time);
    AUTO_FREE char *request = xasprintf("GET\n%s\n%s\nhost:%s\n\nhost\nUNSIGNED-PAYLOAD",
                                        presign->path, query, presign->host);
    digest_of_bytes(request, strlen(request), digest);
    AUTO_FREE char *text =
        xasprintf("AWS4-HMAC-SHA256\n%s\n%s\n%s", time, scope, digest_hex(digest));
    derive_key(presign, day, key);
    mac_of_text(key, text, mac);
    text_format_hex(mac, sizeof mac, signature);
    return xasprintf("%s://%s%s?%s&X-Amz-Signature=%s", presign->scheme, presign->host,
                     presign->path, query, signature);
}
