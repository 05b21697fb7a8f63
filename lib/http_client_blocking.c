#include "lib/http_client_blocking.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/http_client_internal.h"
#include "lib/xalloc.h"

/* A curl handle keeps its connections, names and TLS sessions through curl_easy_reset. */
struct http_blocking_client {
    pthread_mutex_t lock;
    unsigned idle_max;
    unsigned idle_count;
    CURL *idle[]; /* a stack: what was used last is the likeliest to be connected still */
};

struct http_blocking_client *http_blocking_client_create(unsigned idle_connections)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct http_blocking_client *client =
        xcalloc(1, sizeof *client + idle_connections * sizeof *client->idle);
    pthread_mutex_init(&client->lock, NULL);
    client->idle_max = idle_connections;
    return client;
}

void http_blocking_client_destroy(struct http_blocking_client *client)
{
    if (client == NULL)
        return;
    for (unsigned i = 0; i < client->idle_count; i++)
        curl_easy_cleanup(client->idle[i]);
    pthread_mutex_destroy(&client->lock);
    free(client);
    curl_global_cleanup();
}

static CURL *take_handle(struct http_blocking_client *client)
{
    CURL *easy = NULL;
    pthread_mutex_lock(&client->lock);
    if (client->idle_count > 0)
        easy = client->idle[--client->idle_count];
    pthread_mutex_unlock(&client->lock);
    if (easy == NULL)
        easy = curl_easy_init();
    if (easy == NULL)
        abort(); /* for want of memory only */
    return easy;
}

static void give_handle(struct http_blocking_client *client, CURL *easy)
{
    curl_easy_reset(easy); /* what it knew of the call, its secrets too */
    pthread_mutex_lock(&client->lock);
    if (client->idle_count < client->idle_max) {
        client->idle[client->idle_count++] = easy;
        easy = NULL;
    }
    pthread_mutex_unlock(&client->lock);
    curl_easy_cleanup(easy);
}

const struct http_client_response *http_client_perform(struct http_blocking_client *client,
                                                       const struct http_client_request *request,
                                                       void *data, struct error *error)
{
    if (http_call_check(request, error) < 0) {
        if (request->has_socket)
            close(request->socket_descriptor);
        return NULL;
    }
    struct http_call *call = http_call_create(take_handle(client), request);
    call->data = data;
    http_call_complete(call, curl_easy_perform(call->easy));
    return &call->response;
}

void http_client_release(struct http_blocking_client *client,
                         const struct http_client_response *response)
{
    if (response == NULL)
        return;
    struct http_call *call = (struct http_call *)response;
    give_handle(client, call->easy);
    http_call_free(call);
}
