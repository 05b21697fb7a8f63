/* What guests do with their disks, as QEMU counts it (query-blockstats of its
 * qapi/block-core.json).
 */
#include "agent/host/hypervisor_qemu_internal.h"
#include "lib/cleanup.h"
#include "lib/json.h"

struct disk {
    struct hypervisor_disk_use use;
};

static const struct json_field stats_fields[] = {
    JSON_FIELD(struct hypervisor_disk_use, read_bytes, "rd_bytes", JSON_UINT,
               .flags = JSON_REQUIRED),
    JSON_FIELD(struct hypervisor_disk_use, read_operations, "rd_operations", JSON_UINT,
               .flags = JSON_REQUIRED),
    JSON_FIELD(struct hypervisor_disk_use, written_bytes, "wr_bytes", JSON_UINT,
               .flags = JSON_REQUIRED),
    JSON_FIELD(struct hypervisor_disk_use, write_operations, "wr_operations", JSON_UINT,
               .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
static const struct json_record stats_record = {sizeof(struct hypervisor_disk_use), stats_fields};

static const struct json_field disk_fields[] = {
    JSON_FIELD(struct disk, use, "stats", JSON_OBJECT, .flags = JSON_REQUIRED,
               .record = &stats_record),
    JSON_FIELD_END,
};
static const struct json_record disk_record = {sizeof(struct disk), disk_fields};

int qemu_decode_disks(struct json_object *value, struct hypervisor_disk_use *ret_use,
                      struct error *error)
{
    struct hypervisor_disk_use sum = {0};
    if (!json_object_is_type(value, json_type_array))
        return error_set(error, ERROR_PROTOCOL, "QEMU does not list its disks");
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        struct disk disk = {0};
        if (json_decode(&disk_record, json_object_array_get_idx(value, i), JSON_LENIENT, &disk,
                        error) < 0)
            return error_wrap(error, "what QEMU says of a disk");
        sum.disks++;
        sum.read_bytes += disk.use.read_bytes;
        sum.read_operations += disk.use.read_operations;
        sum.written_bytes += disk.use.written_bytes;
        sum.write_operations += disk.use.write_operations;
    }
    *ret_use = sum;
    return 0;
}

int qemu_use_of_disks(struct hypervisor *hypervisor, const char *id,
                      struct hypervisor_disk_use *ret_use, struct error *error)
{
    AUTO_JSON struct json_object *value = NULL;
    if (qemu_ask((struct qemu_hypervisor *)hypervisor, id, "query-blockstats", NULL, &value,
                 error) < 0)
        return -1;
    return qemu_decode_disks(value, ret_use, error);
}
