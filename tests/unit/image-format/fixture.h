/* What the tests of image-format share: a folder of their own, and a smallest kernel. */
#pragma once

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "image-format/chain.h"
#include "image-format/layout.h"
#include "image-format/pack.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

/* An ELF64 executable for x86-64 with one PT_LOAD and one PT_NOTE that holds a PVH entry. */
struct tiny_kernel {
    Elf64_Ehdr header;
    Elf64_Phdr load;
    Elf64_Phdr note;
    struct {
        Elf64_Nhdr header;
        char name[4];
        uint32_t entry;
    } pvh;
    unsigned char code[16]; /* tests put different bytes here for different kernels */
};

static inline struct tiny_kernel tiny_kernel(unsigned char code)
{
    struct tiny_kernel kernel = {
        .header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, 1},
                   .e_type = ET_EXEC,
                   .e_machine = EM_X86_64,
                   .e_version = 1,
                   .e_phoff = offsetof(struct tiny_kernel, load),
                   .e_ehsize = sizeof(Elf64_Ehdr),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = 2},
        .load = {.p_type = PT_LOAD, .p_filesz = sizeof kernel, .p_memsz = sizeof kernel},
        .note = {.p_type = PT_NOTE,
                 .p_offset = offsetof(struct tiny_kernel, pvh),
                 .p_filesz = sizeof kernel.pvh},
        .pvh = {.header = {.n_namesz = 4, .n_descsz = 4, .n_type = 18},
                .name = "Xen",
                .entry = 0x100000},
    };
    memset(kernel.code, code, sizeof kernel.code);
    return kernel;
}

static inline char *temporary_folder(void)
{
    char *folder = xstrdup("/tmp/shoal-image-XXXXXX");
    if (mkdtemp(folder) == NULL)
        abort();
    return folder;
}

static inline void remove_folder(char *folder)
{
    if (file_remove_tree(folder, NULL) < 0)
        abort();
    free(folder);
}

static inline void write_file(const char *folder, const char *name, const void *bytes,
                              size_t length)
{
    AUTO_FREE char *path = xasprintf("%s/%s", folder, name);
    if (file_write(path, bytes, length, 0600, NULL) < 0)
        abort();
}

#define GOOD_RECIPE                                                                                \
    "family: shoal\n"                                                                              \
    "architectures: {amd64: {kernel: hello.elf}}\n"                                                \
    "cmdline: [\"--ip=${net.address}/${net.prefix}\"]\n"                                           \
    "ports:\n"                                                                                     \
    "  - {name: http, port: 8080, mode: http}\n"                                                   \
    "  - {name: admin, port: 8081, private: true}\n"                                               \
    "health: {readiness: {http: {path: /healthz, port: http}}}\n"                                  \
    "stop: {method: console}\n"

/* The good recipe with a tiny kernel, packed. */
static inline struct packed_image packed_fixture(unsigned char code)
{
    char *folder = temporary_folder();
    struct tiny_kernel kernel = tiny_kernel(code);
    struct recipe recipe;
    struct packed_image image = {0};
    struct error error = ERROR_INIT;
    write_file(folder, "hello.elf", &kernel, sizeof kernel);
    write_file(folder, RECIPE_FILE, GOOD_RECIPE, strlen(GOOD_RECIPE));
    if (recipe_load(folder, &recipe, &error) < 0 || pack_image(&recipe, NULL, &image, &error) < 0)
        fail_msg("%s", error.message);
    recipe_release(&recipe);
    remove_folder(folder);
    return image;
}

static inline const struct packed_blob *fixture_blob(const struct packed_image *image,
                                                     const char *media_type)
{
    for (size_t i = 0; i < image->blob_count; i++) {
        if (strcmp(image->blobs[i].media_type, media_type) == 0)
            return &image->blobs[i];
    }
    fail_msg("no blob of type %s", media_type);
    return NULL;
}
