#include "agent/host/image_report.h"

#include "lib/log.h"

struct report {
    struct channel *channel;
    struct host_message message; /* the files that were not sent yet */
    uint64_t told;
    uint64_t left_out;
};

static void send_files(struct report *report)
{
    if (report->message.images.count == 0)
        return;
    channel_send(report->channel, &report->message, -1);
    report->message = (struct host_message){.type = HOST_IMAGES};
}

static void add(void *context, const char *digest, uint64_t size, uint64_t age_ms)
{
    struct report *report = context;
    struct host_images *images = &report->message.images;
    if (report->told == IMAGE_REPORT_MAX) {
        report->left_out++;
        return;
    }
    report->told++;
    struct host_image *image = &images->entries[images->count++];
    *image = (struct host_image){.size = size, .age_ms = age_ms};
    channel_copy_text(image->digest, sizeof image->digest, digest);
    if (images->count == HOST_IMAGES_ENTRIES)
        send_files(report);
}

void image_report_send(struct image_store *images, struct channel *channel)
{
    struct report report = {.channel = channel, .message = {.type = HOST_IMAGES}};
    image_store_each(images, add, &report);
    send_files(&report);
    if (report.left_out > 0)
        log_warn("more image files are here than are looked after: the rest has to wait for a "
                 "later start",
                 "files", LOG_NUMBER(report.told), "rest", LOG_NUMBER(report.left_out));
}
