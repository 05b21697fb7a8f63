/* Real etcds of the test's own: members of a cluster on free ports of the loopback, their state in
 * temporary folders. They end with the test, whatever happens to that. */
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/http_client_blocking.h"
#include "lib/text.h"
#include "lib/xalloc.h"

struct etcd_process {
    char directory[64];
    char url[64];
    char peer[64];
    char name[8];
    char cluster[256]; /* "m0=http://...,m1=http://..." */
    const char *quota; /* bytes; NULL: etcd's */
    pid_t pid;
};

static inline unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bind(descriptor, (struct sockaddr *)&address, sizeof address);
    getsockname(descriptor, (struct sockaddr *)&address, &length);
    close(descriptor);
    return ntohs(address.sin_port);
}

/* In the child, which becomes etcd. */
static inline void etcd_process_exec(const struct etcd_process *etcd)
{
    AUTO_FREE char *data = xasprintf("%s/data", etcd->directory);
    AUTO_FREE char *log = xasprintf("%s/log", etcd->directory);
    int output = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("etcd", "etcd", "--name", etcd->name, "--data-dir", data, "--listen-client-urls",
           etcd->url, "--advertise-client-urls", etcd->url, "--listen-peer-urls", etcd->peer,
           "--initial-advertise-peer-urls", etcd->peer, "--initial-cluster", etcd->cluster,
           "--heartbeat-interval", "50", "--election-timeout", "500", "--logger", "zap",
           "--log-level", "warn", "--quota-backend-bytes", etcd->quota != NULL ? etcd->quota : "0",
           (char *)NULL);
    _exit(127);
}

static inline bool etcd_process_is_healthy(const struct etcd_process *etcd)
{
    AUTO_FREE char *url = xasprintf("%s/health", etcd->url);
    struct http_client_request request = {.url = url, .timeout_ms = 2000};
    struct http_blocking_client *http = http_blocking_client_create(0);
    const struct http_client_response *response = http_client_perform(http, &request, NULL, NULL);
    bool healthy =
        response != NULL && !response->failed && strstr(response->body, "\"true\"") != NULL;
    http_client_release(http, response);
    http_blocking_client_destroy(http);
    return healthy;
}

/* Starts it, perhaps again, with the same state. */
static inline void etcd_process_start(struct etcd_process *etcd)
{
    etcd->pid = fork();
    if (etcd->pid == 0)
        etcd_process_exec(etcd);
}

/* -1: there is no etcd here. */
static inline int etcd_process_wait(struct etcd_process *etcd)
{
    for (int tries = 0; tries < 600; tries++) {
        int status;
        if (waitpid(etcd->pid, &status, WNOHANG) == etcd->pid)
            return -1;
        if (etcd_process_is_healthy(etcd))
            return 0;
        usleep(50 * 1000);
    }
    return -1;
}

static inline int etcd_process_create_cluster(struct etcd_process *members, size_t count)
{
    AUTO_BUFFER struct buffer cluster = {0};
    for (size_t i = 0; i < count; i++) {
        struct etcd_process *etcd = &members[i];
        strcpy(etcd->directory, "/tmp/shoal-etcd.XXXXXX");
        if (mkdtemp(etcd->directory) == NULL)
            return -1;
        snprintf(etcd->name, sizeof etcd->name, "m%u", (unsigned)i);
        snprintf(etcd->url, sizeof etcd->url, "http://127.0.0.1:%u", free_port());
        snprintf(etcd->peer, sizeof etcd->peer, "http://127.0.0.1:%u", free_port());
        buffer_printf(&cluster, "%s%s=%s", i > 0 ? "," : "", etcd->name, etcd->peer);
    }
    for (size_t i = 0; i < count; i++) {
        text_copy(members[i].cluster, sizeof members[i].cluster, buffer_text(&cluster));
        etcd_process_start(&members[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (etcd_process_wait(&members[i]) < 0)
            return -1;
    }
    return 0;
}

static inline int etcd_process_create(struct etcd_process *etcd)
{
    return etcd_process_create_cluster(etcd, 1);
}

static inline void etcd_process_kill(struct etcd_process *etcd)
{
    if (etcd->pid <= 0)
        return;
    kill(etcd->pid, SIGKILL);
    waitpid(etcd->pid, NULL, 0);
    etcd->pid = 0;
}

static inline void etcd_process_destroy(struct etcd_process *etcd)
{
    etcd_process_kill(etcd);
    file_remove_tree(etcd->directory, NULL);
}
