#include "agent/host/qmp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/text.h"

#define CHUNK 16384

/* ---- messages ---- */

/* "" where there is no such text. */
static const char *text_of(struct json_object *object, const char *key)
{
    struct json_object *value;
    if (!json_object_object_get_ex(object, key, &value) ||
        !json_object_is_type(value, json_type_string))
        return "";
    return json_object_get_string(value);
}

static struct json_object *object_of(struct json_object *object, const char *key)
{
    struct json_object *value;
    if (!json_object_object_get_ex(object, key, &value) ||
        !json_object_is_type(value, json_type_object))
        return NULL;
    return value;
}

static uint64_t id_of(struct json_object *object)
{
    struct json_object *value;
    if (!json_object_object_get_ex(object, "id", &value) ||
        !json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
        return 0;
    return (uint64_t)json_object_get_int64(value);
}

static enum qmp_event event_of(const char *name)
{
    static const char *const names[] = {
        [QMP_EVENT_SHUTDOWN] = "SHUTDOWN",
        [QMP_EVENT_PANICKED] = "GUEST_PANICKED",
        [QMP_EVENT_STOP] = "STOP",
        [QMP_EVENT_RESUME] = "RESUME",
    };
    for (size_t i = 1; i < ARRAY_LENGTH(names); i++) {
        if (strcmp(name, names[i]) == 0)
            return (enum qmp_event)i;
    }
    return QMP_EVENT_OTHER;
}

/* ShutdownCause of QEMU's qapi/run-state.json. */
static enum qmp_reason reason_of(const char *name)
{
    if (strcmp(name, "guest-shutdown") == 0)
        return QMP_REASON_GUEST_SHUTDOWN;
    if (strcmp(name, "guest-reset") == 0)
        return QMP_REASON_GUEST_RESET;
    if (strcmp(name, "guest-panic") == 0)
        return QMP_REASON_GUEST_PANIC;
    return strncmp(name, "host-", 5) == 0 ? QMP_REASON_HOST : QMP_REASON_OTHER;
}

static void copy_text(struct qmp_message *message, const char *text)
{
    snprintf(message->text, sizeof message->text, "%s", text);
    text_make_line(message->text);
}

int qmp_decode(const char *line, size_t length, struct qmp_message *ret_message,
               struct error *error)
{
    AUTO_JSON struct json_object *object = NULL;
    struct qmp_message message = {0};
    struct json_object *value;
    if (json_parse(line, length, &object, error) < 0 ||
        !json_object_is_type(object, json_type_object))
        return error_set(error, ERROR_PROTOCOL, "QEMU's monitor says what is not QMP");
    message.id = id_of(object);
    if (object_of(object, "QMP") != NULL) {
        message.kind = QMP_GREETING;
    } else if (json_object_object_get_ex(object, "return", &value)) {
        message.kind = QMP_RETURN;
        message.value = json_object_get(value);
    } else if ((value = object_of(object, "error")) != NULL) {
        message.kind = QMP_ERROR;
        copy_text(&message, text_of(value, "desc"));
    } else if (text_of(object, "event")[0] != '\0') {
        message.kind = QMP_EVENT;
        message.event = event_of(text_of(object, "event"));
        copy_text(&message, text_of(object, "event"));
        if ((value = object_of(object, "data")) != NULL)
            message.reason = reason_of(text_of(value, "reason"));
    } else {
        return error_set(error, ERROR_PROTOCOL, "QEMU's monitor says what is not QMP");
    }
    *ret_message = message;
    return 0;
}

void qmp_message_release(struct qmp_message *message)
{
    json_object_put(message->value);
    message->value = NULL;
}

/* ---- a connection ---- */

int qmp_connect(const char *path, struct qmp *ret_qmp, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!text_copy(address.sun_path, sizeof address.sun_path, path))
        return error_set(error, ERROR_INVALID, "the monitor's path %s is too long", path);
    AUTO_CLOSE int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0 ||
        connect(descriptor, (const struct sockaddr *)&address, sizeof address) < 0)
        return error_set_errno(error, errno, "connect to the monitor %s", path);
    *ret_qmp = (struct qmp){.descriptor = TAKE_DESCRIPTOR(descriptor)};
    return 0;
}

void qmp_close(struct qmp *qmp)
{
    if (qmp->descriptor >= 0)
        close(qmp->descriptor);
    buffer_finish(&qmp->input);
    *qmp = QMP_NONE;
}

static ssize_t send_text(int to, struct buffer *text, int descriptor)
{
    struct iovec part = {.iov_base = text->data, .iov_len = text->length};
    char room[CMSG_SPACE(sizeof descriptor)] __attribute__((aligned(sizeof(size_t)))) = {0};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (descriptor >= 0) {
        header.msg_control = room;
        header.msg_controllen = sizeof room;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        *rights = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
                                   .cmsg_type = SCM_RIGHTS,
                                   .cmsg_len = CMSG_LEN(sizeof descriptor)};
        memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
    }
    return sendmsg(to, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int qmp_send(const struct qmp *qmp, uint64_t id, const char *command, const char *arguments,
             struct error *error)
{
    return qmp_send_with(qmp, id, command, arguments, -1, error);
}

int qmp_send_with(const struct qmp *qmp, uint64_t id, const char *command, const char *arguments,
                  int descriptor, struct error *error)
{
    AUTO_BUFFER struct buffer text = {0};
    if (qmp->descriptor < 0)
        return error_set(error, ERROR_UNAVAILABLE, "QEMU's monitor is not connected");
    buffer_printf(&text, "{\"execute\":\"%s\",\"arguments\":%s,\"id\":%" PRIu64 "}\n", command,
                  arguments != NULL ? arguments : "{}", id);
    ssize_t sent = send_text(qmp->descriptor, &text, descriptor);
    if (sent < 0)
        return error_set(error, ERROR_UNAVAILABLE, "QEMU's monitor takes no command: %s",
                         strerror(errno));
    if ((size_t)sent != text.length) /* half a command: nothing after it would be understood */
        return error_set(error, ERROR_UNAVAILABLE, "QEMU's monitor takes no whole command");
    return 0;
}

/* The lines in the buffer; what is left is the beginning of one. */
static int take_lines(struct qmp *qmp, void (*take)(void *context, struct qmp_message *message),
                      void *context, struct error *error)
{
    size_t taken = 0;
    const char *end;
    while (taken < qmp->input.length &&
           (end = memchr(qmp->input.data + taken, '\n', qmp->input.length - taken)) != NULL) {
        const char *line = qmp->input.data + taken;
        struct qmp_message message;
        if (qmp_decode(line, (size_t)(end - line), &message, error) < 0)
            return -1;
        take(context, &message);
        qmp_message_release(&message);
        taken = (size_t)(end - qmp->input.data) + 1;
    }
    buffer_consume(&qmp->input, taken);
    if (qmp->input.length > QMP_LINE_MAX)
        return error_set(error, ERROR_PROTOCOL, "QEMU's monitor says a line of more than %zu bytes",
                         QMP_LINE_MAX);
    if (qmp->input.length == 0) /* one that is idle holds no memory */
        buffer_finish(&qmp->input);
    return 1;
}

int qmp_receive(struct qmp *qmp, void (*take)(void *context, struct qmp_message *message),
                void *context, struct error *error)
{
    char chunk[CHUNK];
    ssize_t got = recv(qmp->descriptor, chunk, sizeof chunk, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 1;
    if (got <= 0)
        return 0;
    qmp->received += (uint64_t)got;
    buffer_append(&qmp->input, chunk, (size_t)got);
    return take_lines(qmp, take, context, error);
}
