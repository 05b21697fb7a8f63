/* ELF files that lie about themselves: every table, note and name is checked before it is used. */
#include "tests/unit/image-format/elf_fixture.h"

#include "image-format/elf.h"

/* Segments: 0 what is loaded, 1 a Solo5 note, 2 a PVH note. Sections: 0 none, 1 .text, 2 and 3 the
 * notes, 4 .uk_bootinfo, 5 the names. */
enum { LOADED, SOLO5, PVH };
enum { TEXT = 1, SOLO5_NOTE, PVH_NOTE, BOOTINFO, NAMES, SECTIONS };

static struct made_elf sound_file(void)
{
    uint32_t abi[4] = {3, 1, 0, 0};
    struct elf_maker maker = elf_maker(true, EM_X86_64);
    maker_add_note(&maker, true, "Solo5", 0x31494241, abi, sizeof abi);
    maker_add_pvh(&maker);
    maker_add(&maker, ".uk_bootinfo", SHT_PROGBITS, PT_NULL, "info", 4);
    return maker_finish(&maker);
}

static uint32_t *note_word(struct made_elf *made, size_t segment, size_t index)
{
    return (uint32_t *)(made->bytes.data + made_segment(made, segment)->p_offset) + index;
}

/* Spoils a sound file, which must then be refused with that reason. */
typedef void spoiler(struct made_elf *made);

static void assert_refused(spoiler *spoil, const char *reason)
{
    struct made_elf made = sound_file();
    spoil(&made);
    struct detection detection = detect_copy(made.bytes.data, made.bytes.length);
    buffer_finish(&made.bytes);
    if (detection.verdict != DETECTION_REFUSED)
        fail_msg("%s: expected \"%s\"", detection_verdict_names[detection.verdict], reason);
    assert_has_text(detection.reason, reason);
    assert_int_equal(detection.protocols.count, 0);
    detection_release(&detection);
}

static void a_sound_file_is_not_refused_for_its_form(void **state)
{
    (void)state;
    struct made_elf made = sound_file();
    struct detect_source source;
    struct elf_file elf;
    struct elf_section section;
    detect_source_of_bytes(made.bytes.data, made.bytes.length, &source);
    assert_int_equal(elf_open(&source, &elf, NULL), 0);
    assert_int_equal(elf.segment_count, 3);
    assert_int_equal(elf.section_count, SECTIONS);
    assert_int_equal(elf_read_section(&elf, BOOTINFO, &section, NULL), 0);
    assert_string_equal(section.name, ".uk_bootinfo");
    assert_int_equal(section.size, 4);
    buffer_finish(&made.bytes);
}

static void every_length_is_survived(void **state)
{
    (void)state;
    struct made_elf made = sound_file();
    for (size_t length = 0; length < made.bytes.length; length++) {
        struct detection detection = detect_copy(made.bytes.data, length);
        assert_int_not_equal(detection.verdict, DETECTION_CERTAIN);
        assert_int_not_equal(detection.verdict, DETECTION_GENERIC);
        detection_release(&detection);
    }
    buffer_finish(&made.bytes);
}

static void be_of_no_class(struct made_elf *made)
{
    made->bytes.data[EI_CLASS] = 3;
}
static void be_big_endian(struct made_elf *made)
{
    made->bytes.data[EI_DATA] = ELFDATA2MSB;
}
static void be_of_no_order(struct made_elf *made)
{
    made->bytes.data[EI_DATA] = 0;
}
static void put_segments_outside(struct made_elf *made)
{
    made_header(made)->e_phoff = UINT64_MAX - 8;
}
static void put_segments_at_the_end(struct made_elf *made)
{
    made_header(made)->e_phoff = made->bytes.length - 1;
}
static void have_many_segments(struct made_elf *made)
{
    made_header(made)->e_phnum = 0xffff;
}
static void have_long_segments(struct made_elf *made)
{
    made_header(made)->e_phentsize = 0xffff;
}
static void have_no_segments(struct made_elf *made)
{
    made_header(made)->e_phnum = 0;
}

static void headers_that_lie_are_refused(void **state)
{
    (void)state;
    assert_refused(be_of_no_class, "ELF class 3");
    assert_refused(be_big_endian, "big-endian");
    assert_refused(be_of_no_order, "ELF byte order 0");
    assert_refused(put_segments_outside, "program headers (3 at offset 18446744073709551607)");
    assert_refused(put_segments_at_the_end, "do not lie within");
    assert_refused(have_many_segments, "65535 ELF program headers, at most 256");
    assert_refused(have_long_segments, "65535 bytes each, expected 56");
    assert_refused(have_no_segments, "nothing to load");
}

static void put_sections_outside(struct made_elf *made)
{
    made_header(made)->e_shoff = UINT64_MAX - 63;
}
static void cut_sections(struct made_elf *made)
{
    made->bytes.length -= sizeof(Elf64_Shdr);
}
static void have_short_sections(struct made_elf *made)
{
    made_header(made)->e_shentsize = 1;
}
static void have_more_sections(struct made_elf *made)
{
    made_header(made)->e_shnum = SECTIONS + 1;
}
static void have_2_to_the_32_sections(struct made_elf *made)
{
    made_header(made)->e_shnum = 0;
    made_section(made, 0)->sh_size = 1ull << 32;
}
static void have_2_to_the_64_sections(struct made_elf *made)
{
    made_header(made)->e_shnum = 0;
    made_section(made, 0)->sh_size = UINT64_MAX;
}
static void name_no_section_for_names(struct made_elf *made)
{
    made_header(made)->e_shstrndx = SECTIONS;
}
static void name_a_far_section_for_names(struct made_elf *made)
{
    made_header(made)->e_shstrndx = SHN_XINDEX;
    made_section(made, 0)->sh_link = UINT32_MAX;
}
static void put_names_outside(struct made_elf *made)
{
    made_section(made, NAMES)->sh_offset = UINT64_MAX - 1;
}
static void have_endless_names(struct made_elf *made)
{
    made_section(made, NAMES)->sh_size = UINT64_MAX;
}
static void have_names_of_another_type(struct made_elf *made)
{
    made_section(made, NAMES)->sh_type = SHT_NOBITS;
}

static void section_tables_that_lie_are_refused(void **state)
{
    (void)state;
    assert_refused(put_sections_outside, "section headers at offset 18446744073709551552");
    assert_refused(cut_sections, "cut short");
    assert_refused(have_short_sections, "1 bytes each, expected 64");
    assert_refused(have_more_sections, "section headers (7 at offset");
    assert_refused(have_2_to_the_32_sections, "4294967296 ELF sections, at most 16384");
    assert_refused(have_2_to_the_64_sections, "18446744073709551615 ELF sections");
    assert_refused(name_no_section_for_names, "section 6 of 6");
    assert_refused(name_a_far_section_for_names, "section 4294967295 of 6");
    assert_refused(put_names_outside, "no table of names within");
    assert_refused(have_endless_names, "no table of names within");
    assert_refused(have_names_of_another_type, "no table of names within");
}

static void numbers_in_section_0_are_read(void **state)
{
    (void)state;
    struct made_elf made = sound_file();
    struct detect_source source;
    struct elf_file elf;
    struct elf_section section;
    made_header(&made)->e_shnum = 0;
    made_section(&made, 0)->sh_size = SECTIONS;
    made_header(&made)->e_shstrndx = SHN_XINDEX;
    made_section(&made, 0)->sh_link = NAMES;
    detect_source_of_bytes(made.bytes.data, made.bytes.length, &source);
    assert_int_equal(elf_open(&source, &elf, NULL), 0);
    assert_int_equal(elf.section_count, SECTIONS);
    assert_int_equal(elf_read_section(&elf, TEXT, &section, NULL), 0);
    assert_string_equal(section.name, ".text");
    buffer_finish(&made.bytes);
}

static void put_load_outside(struct made_elf *made)
{
    made_segment(made, LOADED)->p_offset = UINT64_MAX;
}
static void load_more_than_there_is(struct made_elf *made)
{
    made_segment(made, LOADED)->p_filesz = made->bytes.length + 1;
}
static void put_notes_outside(struct made_elf *made)
{
    made_segment(made, PVH)->p_offset = made->bytes.length + 1;
}
static void have_long_notes(struct made_elf *made)
{
    made_segment(made, PVH)->p_filesz = UINT64_MAX;
}
static void put_section_notes_outside(struct made_elf *made)
{
    made_section(made, SOLO5_NOTE)->sh_offset = UINT64_MAX - 4;
}
static void have_a_long_note_section(struct made_elf *made)
{
    made_section(made, PVH_NOTE)->sh_size = UINT64_MAX - 4;
}
static void have_a_long_note_name(struct made_elf *made)
{
    *note_word(made, SOLO5, 0) = UINT32_MAX;
}
static void have_a_note_name_that_wraps_when_padded(struct made_elf *made)
{
    *note_word(made, SOLO5, 0) = UINT32_MAX - 2;
}
static void have_long_note_content(struct made_elf *made)
{
    *note_word(made, PVH, 1) = UINT32_MAX;
}
static void have_note_content_that_wraps(struct made_elf *made)
{
    *note_word(made, PVH, 1) = UINT32_MAX - 15;
}
static void have_a_note_name_beyond_its_note(struct made_elf *made)
{
    *note_word(made, PVH, 0) = 20;
    *note_word(made, PVH, 1) = 0;
}

static void segments_and_notes_that_point_outside_are_refused(void **state)
{
    (void)state;
    assert_refused(put_load_outside, "ELF segment 0");
    assert_refused(load_more_than_there_is, "the file is cut short");
    assert_refused(put_notes_outside, "ELF segment 2");
    assert_refused(have_long_notes, "18446744073709551615 bytes of notes");
    assert_refused(put_section_notes_outside, "ELF section 2");
    assert_refused(have_a_long_note_section, "ELF section 3");
    assert_refused(have_a_long_note_name, "an ELF note (name of 4294967295 bytes");
    assert_refused(have_a_note_name_that_wraps_when_padded, "points outside its segment");
    assert_refused(have_long_note_content, "points outside its segment");
    assert_refused(have_note_content_that_wraps, "points outside its segment");
    assert_refused(have_a_note_name_beyond_its_note, "points outside its segment");
}

static void notes_may_overlap_but_not_without_end(void **state)
{
    (void)state;
    static const uint32_t one[4] = {1, 0, 1, 'x'};
    AUTO_BUFFER struct buffer many = {0};
    struct elf_maker maker = elf_maker(true, EM_X86_64);
    for (size_t i = 0; i <= ELF_NOTES_MAX; i++)
        buffer_append(&many, one, sizeof one);
    maker_add(&maker, ".note", SHT_NOTE, PT_NOTE, many.data, many.length);
    struct made_elf made = maker_finish(&maker);
    struct detection detection = detect_copy(made.bytes.data, made.bytes.length);
    assert_int_equal(detection.verdict, DETECTION_REFUSED);
    assert_has_text(detection.reason, "more than 1024 ELF notes");
    detection_release(&detection);
    buffer_finish(&made.bytes);
    /* The same note seen through two segments is one note. */
    uint32_t abi[4] = {1, 1, 0, 0};
    maker = elf_maker(true, EM_X86_64);
    maker_add_note(&maker, true, "Solo5", 0x31494241, abi, sizeof abi);
    maker_add_segment(&maker, PT_NOTE, maker.segments[1].offset, maker.segments[1].size);
    made = maker_finish(&maker);
    detection = detect_copy(made.bytes.data, made.bytes.length);
    assert_string_equal(detection.family, "solo5");
    assert_int_equal(detection.evidence.count, 1);
    detection_release(&detection);
    buffer_finish(&made.bytes);
}

/* What linkers make of a section aligned to 4 bytes and one to 8. */
static void zeroes_between_notes_are_passed_over(void **state)
{
    (void)state;
    static const uint32_t notes[] = {
        4, 4,  6,  0x006e6558, 0x0076736f,          /* Xen 6 "osv" */
        0,                                          /* the gap */
        4, 16, 5,  0x00554e47, 1,          2, 3, 4, /* GNU 5 */
        4, 4,  18, 0x006e6558, 0x00100000,          /* Xen 18 */
    };
    struct elf_maker maker = elf_maker(true, EM_X86_64);
    maker_add(&maker, ".note", SHT_NOTE, PT_NOTE, notes, sizeof notes);
    struct made_elf made = maker_finish(&maker);
    struct detection detection = detect_copy(made.bytes.data, made.bytes.length);
    assert_string_equal(detection.family, "osv");
    assert_string_equal(detection.protocols.items[0], "pvh");
    detection_release(&detection);
    buffer_finish(&made.bytes);
}

/* A section whose name's bytes run to the table's end has no name. */
static void names_without_an_end_are_no_names(void **state)
{
    (void)state;
    struct made_elf made = sound_file();
    struct detect_source source;
    struct elf_file elf;
    struct elf_section section;
    uint64_t names = made_section(&made, NAMES)->sh_offset;
    uint64_t size = made_section(&made, NAMES)->sh_size;
    made.bytes.data[names + size - 1] = 'x';
    made_section(&made, TEXT)->sh_name = (uint32_t)size - 3;
    made_section(&made, BOOTINFO)->sh_name = (uint32_t)size;
    made_section(&made, PVH_NOTE)->sh_name = UINT32_MAX;
    detect_source_of_bytes(made.bytes.data, made.bytes.length, &source);
    assert_int_equal(elf_open(&source, &elf, NULL), 0);
    static const size_t nameless[] = {TEXT, BOOTINFO, PVH_NOTE};
    for (size_t i = 0; i < ARRAY_LENGTH(nameless); i++) {
        assert_int_equal(elf_read_section(&elf, nameless[i], &section, NULL), 0);
        assert_string_equal(section.name, "");
    }
    buffer_finish(&made.bytes);
}

static void long_names_are_cut(void **state)
{
    (void)state;
    char name[200];
    struct elf_section section;
    struct detect_source source;
    struct elf_file elf;
    memset(name, 'n', sizeof name);
    struct elf_maker maker = elf_maker(true, EM_X86_64);
    maker_add(&maker, ".shorter", SHT_PROGBITS, PT_NULL, name, sizeof name);
    struct made_elf made = maker_finish(&maker);
    /* Names are read from the long content. */
    made_header(&made)->e_shstrndx = 2;
    made_section(&made, 2)->sh_type = SHT_STRTAB;
    made_section(&made, 1)->sh_name = 3;
    detect_source_of_bytes(made.bytes.data, made.bytes.length, &source);
    assert_int_equal(elf_open(&source, &elf, NULL), 0);
    assert_int_equal(elf_read_section(&elf, 1, &section, NULL), 0);
    assert_int_equal(strlen(section.name), ELF_NAME_MAX - 1);
    buffer_finish(&made.bytes);
}

static void files_without_sections_are_told_by_their_segments(void **state)
{
    (void)state;
    struct elf_maker maker = elf_maker(true, EM_X86_64);
    maker_add_word_note(&maker, true, "Shoal", 1, 7);
    maker_add_pvh(&maker);
    struct made_elf made = maker_finish(&maker);
    made_header(&made)->e_shoff = 0;
    made_header(&made)->e_shnum = 0;
    struct detection detection = detect_copy(made.bytes.data, made.sections_at);
    assert_string_equal(detection.family, "shoal");
    assert_int_equal(detection.verdict, DETECTION_CERTAIN);
    detection_release(&detection);
    buffer_finish(&made.bytes);
}

static void texts_from_a_file_are_printable(void **state)
{
    (void)state;
    struct elf_maker maker = elf_maker(true, EM_X86_64);
    maker_add_note(&maker, true, "Xen", 6, "\x1b[31m\n<x>\xff", 10);
    maker_add_pvh(&maker);
    struct made_elf made = maker_finish(&maker);
    struct detection detection = detect_copy(made.bytes.data, made.bytes.length);
    assert_evidence(&detection, "guest \"?[31m");
    for (size_t i = 0; i < detection.evidence.count; i++) {
        for (const char *at = detection.evidence.items[i]; *at != '\0'; at++)
            assert_true((unsigned char)*at >= ' ' && (unsigned char)*at < 0x7f);
    }
    detection_release(&detection);
    buffer_finish(&made.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_file_is_not_refused_for_its_form),
        cmocka_unit_test(every_length_is_survived),
        cmocka_unit_test(headers_that_lie_are_refused),
        cmocka_unit_test(section_tables_that_lie_are_refused),
        cmocka_unit_test(numbers_in_section_0_are_read),
        cmocka_unit_test(segments_and_notes_that_point_outside_are_refused),
        cmocka_unit_test(notes_may_overlap_but_not_without_end),
        cmocka_unit_test(zeroes_between_notes_are_passed_over),
        cmocka_unit_test(names_without_an_end_are_no_names),
        cmocka_unit_test(long_names_are_cut),
        cmocka_unit_test(files_without_sections_are_told_by_their_segments),
        cmocka_unit_test(texts_from_a_file_are_printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
