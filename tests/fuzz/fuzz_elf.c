/* ELF files: whatever the tables say, what is visited lies within the file. */
#include "image-format/elf.h"
#include "tests/fuzz/fuzz.h"

static int visit_note(const struct elf_note *note, void *data, struct error *error)
{
    const struct elf_file *elf = data;
    (void)error;
    EXPECT(memchr(note->name, '\0', sizeof note->name) != NULL);
    EXPECT(note->size == 0 || detect_source_holds(elf->source, note->offset, note->size));
    return 0;
}

static int visit_section(const struct elf_section *section, void *data, struct error *error)
{
    size_t *count = data;
    (void)error;
    EXPECT(memchr(section->name, '\0', sizeof section->name) != NULL);
    EXPECT(++*count <= ELF_SECTIONS_MAX);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE uint8_t *exact = xmemdup(bytes, length);
    struct detect_source source;
    struct elf_file elf;
    struct error error = ERROR_INIT;
    size_t sections = 0;
    detect_source_of_bytes(exact, length, &source);
    if (elf_open(&source, &elf, &error) < 0) {
        EXPECT(error.code == ERROR_INVALID || error.code == ERROR_UNSUPPORTED);
        return 0;
    }
    EXPECT(elf.segment_count <= ELF_SEGMENTS_MAX);
    for (size_t i = 0; i < elf.segment_count; i++) {
        struct elf_segment segment;
        EXPECT(elf_read_segment(&elf, i, &segment, NULL) == 0);
    }
    EXPECT(elf_visit_sections(&elf, visit_section, &sections, NULL) == 0);
    EXPECT(sections == elf.section_count);
    if (elf_visit_notes(&elf, visit_note, &elf, &error) < 0)
        EXPECT(error.code == ERROR_INVALID);
    return 0;
}
