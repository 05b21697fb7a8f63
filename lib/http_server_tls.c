/* TLS: certificates that can be read anew, and clients' certificates. One of the places where
 * GnuTLS is known, which libmicrohttpd speaks.
 *
 * libmicrohttpd reads its certificate once. Each session is given credentials of ours before its
 * handshake instead, so that a new certificate needs no new server and no lost connection. */
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdatomic.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/http_server_internal.h"
#include "lib/text.h"
#include "lib/xalloc.h"

struct http_identity {
    atomic_uint users;
    gnutls_certificate_credentials_t credentials;
    enum http_client_certificates client_certificates;
};

static int set_error(struct error *error, int result, const char *path)
{
    return error_set(error, ERROR_INVALID, "TLS: %s: %s", path, gnutls_strerror(result));
}

/* NULL: it may be one; else what is wrong and what helps. */
static const char *certificate_fault(const char *text)
{
    if (strstr(text, "BEGIN CERTIFICATE-----") != NULL ||
        strstr(text, "BEGIN X509 CERTIFICATE-----") != NULL)
        return NULL;
    if (strstr(text, "CERTIFICATE REQUEST-----") != NULL)
        return "is a request for a certificate: give the one that the authority made of it";
    if (strstr(text, "PRIVATE KEY-----") != NULL)
        return "is a private key and no certificate: are the two swapped?";
    if (strstr(text, "-----BEGIN ") != NULL)
        return "has no certificate in it";
    return "is no certificate in PEM form: of one in DER form openssl x509 -inform DER makes it";
}

static const char *key_fault(const char *text)
{
    if (strstr(text, "BEGIN ENCRYPTED PRIVATE KEY-----") != NULL ||
        strstr(text, "Proc-Type: 4,ENCRYPTED") != NULL)
        return "is encrypted, and nobody is there to type its password: openssl pkey -in it -out "
               "another file decrypts it; keep that one at mode 0600";
    if (strstr(text, "PRIVATE KEY-----") != NULL)
        return NULL;
    if (strstr(text, "CERTIFICATE-----") != NULL)
        return "is a certificate and no private key: are the two swapped?";
    if (strstr(text, "-----BEGIN ") != NULL)
        return "has no private key in it";
    return "is no private key in PEM form: of one in DER form openssl pkey -inform DER makes it";
}

/* GnuTLS says no more than that something could not be read. */
static int check_file(const char *what, const char *path, const char *(*find_fault)(const char *),
                      struct error *error)
{
    char *text = NULL;
    size_t length;
    if (file_read(path, (size_t)1 << 20, &text, &length, error) < 0)
        return error_wrap(error, "TLS: %s", what);
    const char *fault = find_fault(text);
    explicit_bzero(text, length);
    free(text);
    if (fault == NULL)
        return 0;
    return error_set(error, ERROR_INVALID, "TLS: %s %s %s", what, path, fault);
}

static int load_own(struct http_identity *identity, const struct http_server_tls *tls,
                    struct error *error)
{
    if (check_file("certificate", tls->certificate, certificate_fault, error) < 0 ||
        check_file("key", tls->key, key_fault, error) < 0)
        return -1;
    int result = gnutls_certificate_set_x509_key_file(identity->credentials, tls->certificate,
                                                      tls->key, GNUTLS_X509_FMT_PEM);
    if (result < 0)
        return error_set(error, ERROR_INVALID, "TLS: certificate %s with key %s: %s",
                         tls->certificate, tls->key, gnutls_strerror(result));
    return 0;
}

static int load_authorities(struct http_identity *identity, const char *path, struct error *error)
{
    if (check_file("client authorities", path, certificate_fault, error) < 0)
        return -1;
    int count =
        gnutls_certificate_set_x509_trust_file(identity->credentials, path, GNUTLS_X509_FMT_PEM);
    if (count < 0)
        return set_error(error, count, path);
    if (count == 0)
        return error_set(error, ERROR_INVALID, "TLS: %s has no certificate of an authority", path);
    return 0;
}

int http_identity_load(const struct http_server_tls *tls, struct http_identity **ret_identity,
                       struct error *error)
{
    struct http_identity *identity = xcalloc(1, sizeof *identity);
    identity->users = 1;
    identity->client_certificates = tls->client_certificates;
    if (gnutls_certificate_allocate_credentials(&identity->credentials) < 0)
        abort();
    if (load_own(identity, tls, error) < 0 ||
        (tls->client_ca != NULL && load_authorities(identity, tls->client_ca, error) < 0)) {
        http_identity_release(identity);
        return -1;
    }
    *ret_identity = identity;
    return 0;
}

struct http_identity *http_identity_acquire(struct http_identity *identity)
{
    atomic_fetch_add(&identity->users, 1);
    return identity;
}

void http_identity_release(struct http_identity *identity)
{
    if (identity == NULL || atomic_fetch_sub(&identity->users, 1) != 1)
        return;
    gnutls_certificate_free_credentials(identity->credentials);
    free(identity);
}

int http_server_reload_tls(struct http_server *server, const struct http_server_tls *tls,
                           struct error *error)
{
    struct http_identity *identity = NULL;
    if (!server->speaks_tls)
        return error_set(error, ERROR_INVALID, "TLS begins with a restart, not with a reload");
    if (http_identity_load(tls, &identity, error) < 0)
        return -1;
    pthread_mutex_lock(&server->identity_lock);
    struct http_identity *before = server->identity;
    server->identity = identity;
    pthread_mutex_unlock(&server->identity_lock);
    http_identity_release(before);
    return 0;
}

/* --- connections --- */

static gnutls_session_t session_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return info != NULL ? info->tls_session : NULL;
}

void http_connection_begin_tls(struct http_connection *connection, struct http_server *server,
                               struct MHD_Connection *mhd)
{
    gnutls_session_t session = session_of(mhd);
    pthread_mutex_lock(&server->identity_lock);
    struct http_identity *identity =
        server->identity != NULL ? http_identity_acquire(server->identity) : NULL;
    pthread_mutex_unlock(&server->identity_lock);
    if (identity == NULL || session == NULL)
        return;
    connection->identity = identity;
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, identity->credentials);
    gnutls_certificate_server_set_request(session, identity->client_certificates ==
                                                           HTTP_CLIENT_CERTIFICATES_OFF
                                                       ? GNUTLS_CERT_IGNORE
                                                       : GNUTLS_CERT_REQUEST);
}

/* "CN=alice": alice. */
static bool read_name(const gnutls_datum_t *encoded, char *ret_name, size_t size)
{
    gnutls_x509_crt_t certificate;
    if (gnutls_x509_crt_init(&certificate) < 0)
        return false;
    bool found = gnutls_x509_crt_import(certificate, encoded, GNUTLS_X509_FMT_DER) == 0 &&
                 gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0,
                                               ret_name, &size) == 0;
    gnutls_x509_crt_deinit(certificate);
    return found;
}

static bool verify(struct http_connection *connection, gnutls_session_t session,
                   const gnutls_datum_t *certificate)
{
    unsigned status = 0;
    gnutls_datum_t text = {0};
    /* The same authority may have signed servers' certificates, which name nobody as a client. */
    gnutls_typed_vdata_st purpose = {
        .type = GNUTLS_DT_KEY_PURPOSE_OID,
        .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT,
    };
    int result = gnutls_certificate_verify_peers(session, &purpose, 1, &status);
    if (result == 0 && status == 0) {
        if (read_name(certificate, connection->name, sizeof connection->name))
            return true;
        connection->name[0] = '\0';
        return true;
    }
    if (result == 0)
        gnutls_certificate_verification_status_print(
            status, gnutls_certificate_type_get2(session, GNUTLS_CTYPE_CLIENT), &text, 0);
    snprintf(connection->problem, sizeof connection->problem, "the client certificate: %s",
             text.data != NULL ? (const char *)text.data : gnutls_strerror(result));
    text_make_printable(connection->problem);
    gnutls_free(text.data);
    return false;
}

bool http_connection_check_certificate(struct http_connection *connection,
                                       struct MHD_Connection *mhd)
{
    gnutls_session_t session = session_of(mhd);
    if (connection->is_checked)
        return connection->is_good;
    connection->is_checked = true;
    connection->is_good = true;
    if (connection->identity == NULL || session == NULL ||
        connection->identity->client_certificates == HTTP_CLIENT_CERTIFICATES_OFF)
        return true;
    unsigned count = 0;
    const gnutls_datum_t *certificates = gnutls_certificate_get_peers(session, &count);
    if (certificates != NULL && count > 0) {
        connection->is_good = verify(connection, session, &certificates[0]);
    } else if (connection->identity->client_certificates == HTTP_CLIENT_CERTIFICATES_REQUIRED) {
        connection->is_good = false;
        text_copy(connection->problem, sizeof connection->problem,
                  "a client certificate is needed here, and none was shown");
    }
    return connection->is_good;
}

void http_tls_send(struct MHD_Connection *mhd, const void *bytes, size_t length)
{
    gnutls_session_t session = session_of(mhd);
    const char *at = bytes;
    while (session != NULL && length > 0) {
        ssize_t sent = gnutls_record_send(session, at, length);
        if (sent == GNUTLS_E_INTERRUPTED)
            continue;
        if (sent <= 0)
            return;
        at += sent;
        length -= (size_t)sent;
    }
    if (session != NULL)
        gnutls_bye(session, GNUTLS_SHUT_WR);
}
