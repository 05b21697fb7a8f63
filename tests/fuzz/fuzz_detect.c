/* Any bytes as a kernel or a disk: there is one verdict, it says why, and the family's table boots
 * what it calls bootable. */
#include "image-format/detect.h"
#include "image-format/family.h"
#include "tests/fuzz/fuzz.h"

static bool is_one_line(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    }
    return true;
}

static void check_texts(const struct detection *detection)
{
    EXPECT(is_one_line(detection->title));
    for (size_t i = 0; i < detection->evidence.count; i++)
        EXPECT(is_one_line(detection->evidence.items[i]));
    for (size_t i = 0; i < detection->device_count; i++)
        EXPECT(is_one_line(detection->devices[i].name));
    if (detection->reason != NULL)
        EXPECT(is_one_line(detection->reason));
}

static void check_verdict(const struct detection *detection)
{
    bool boots = detection->protocols.count > 0;
    switch (detection->verdict) {
    case DETECTION_CERTAIN:
    case DETECTION_GENERIC:
        EXPECT(boots && detection->reason == NULL);
        EXPECT(family_find(detection->family) != NULL);
        EXPECT((detection->verdict == DETECTION_GENERIC) ==
               (strcmp(detection->family, "generic") == 0));
        /* What boots may be declared as what it is. */
        EXPECT(detection_check(detection, "x", detection->family, detection->protocols.items[0],
                               detection->architecture, NULL) == 0);
        break;
    case DETECTION_UNDECIDED:
        EXPECT(detection->reason != NULL && detection->family[0] == '\0');
        break;
    case DETECTION_REFUSED:
        EXPECT(!boots && detection->reason != NULL);
        EXPECT(detection_check(detection, "x", "generic", "pvh", "amd64", NULL) < 0);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE uint8_t *exact = xmemdup(bytes, length);
    struct detection detection, again;
    detect_bytes(exact, length, &detection);
    check_texts(&detection);
    check_verdict(&detection);
    /* It can be sent and read back. */
    AUTO_FREE char *text = json_record_text(&detection_record, &detection);
    memset(&again, 0, sizeof again);
    EXPECT(json_parse_record(&detection_record, text, strlen(text), JSON_STRICT, &again, NULL) ==
           0);
    EXPECT(again.verdict == detection.verdict && strcmp(again.family, detection.family) == 0);
    detection_release(&again);
    detection_release(&detection);
    return 0;
}
