/* The part of <string.h>, <ctype.h> and <stdlib.h> that the runtime and lwIP use. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A compiler turns a plain loop in these into a call of the same function: the empty assembly in
 * each turn keeps it from recognising the loop. x86 has instructions that are faster anyway. */
#define KEEP_LOOP() __asm__ volatile("" : : : "memory")

#if defined(__x86_64__)
void *memcpy(void *restrict target, const void *restrict source, size_t size)
{
    void *result = target;
    __asm__ volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(size) : : "memory");
    return result;
}

void *memset(void *target, int value, size_t size)
{
    void *result = target;
    __asm__ volatile("rep stosb" : "+D"(target), "+c"(size) : "a"(value) : "memory");
    return result;
}
#else
/* Words need not be aligned: the compiler makes one instruction of each of these copies. */
void *memcpy(void *restrict target, const void *restrict source, size_t size)
{
    unsigned char *out = target;
    const unsigned char *in = source;
    for (; size >= 2 * sizeof(uint64_t); size -= 2 * sizeof(uint64_t)) {
        uint64_t words[2];
        __builtin_memcpy(words, in, sizeof(words));
        __builtin_memcpy(out, words, sizeof(words));
        in += sizeof(words);
        out += sizeof(words);
        KEEP_LOOP();
    }
    while (size-- > 0) {
        *out++ = *in++;
        KEEP_LOOP();
    }
    return target;
}

void *memset(void *target, int value, size_t size)
{
    unsigned char *out = target;
    const uint64_t word = 0x0101010101010101ULL * (unsigned char)value;
    for (; size >= sizeof(word); size -= sizeof(word)) {
        __builtin_memcpy(out, &word, sizeof(word));
        out += sizeof(word);
        KEEP_LOOP();
    }
    while (size-- > 0) {
        *out++ = (unsigned char)value;
        KEEP_LOOP();
    }
    return target;
}
#endif

void *memmove(void *target, const void *source, size_t size)
{
    unsigned char *out = target;
    const unsigned char *in = source;
    if ((uintptr_t)out - (uintptr_t)in >= size) {
        return memcpy(target, source, size);
    }
    while (size-- > 0) {
        out[size] = in[size];
        KEEP_LOOP();
    }
    return target;
}

int memcmp(const void *left, const void *right, size_t size)
{
    const unsigned char *a = left, *b = right;
    for (size_t i = 0; i < size; i++) {
        if (a[i] != b[i]) {
            return a[i] - b[i];
        }
    }
    return 0;
}

void *memchr(const void *memory, int value, size_t size)
{
    const unsigned char *bytes = memory;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == (unsigned char)value) {
            return (void *)(uintptr_t)(bytes + i);
        }
    }
    return NULL;
}

size_t strlen(const char *text)
{
    size_t length = 0;
    while (text[length] != '\0') {
        length++;
        KEEP_LOOP();
    }
    return length;
}

int strncmp(const char *left, const char *right, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (left[i] != right[i] || left[i] == '\0') {
            return (unsigned char)left[i] - (unsigned char)right[i];
        }
    }
    return 0;
}

int strcmp(const char *left, const char *right)
{
    return strncmp(left, right, SIZE_MAX);
}

char *strchr(const char *text, int value)
{
    for (;; text++) {
        if (*text == (char)value) {
            return (char *)(uintptr_t)text;
        }
        if (*text == '\0') {
            return NULL;
        }
    }
}

int atoi(const char *text)
{
    int sign = *text == '-' ? -1 : 1;
    int value = 0;
    if (*text == '-' || *text == '+') {
        text++;
    }
    while (*text >= '0' && *text <= '9') {
        value = value * 10 + (*text++ - '0');
    }
    return sign * value;
}
