/*
 * snprintf for the runtime: %s %c %d %i %u %x %X %p %%, with l, ll, z and h, width, zero padding,
 * left alignment and a precision for strings. No floating point: the machine's registers for it are
 * never set up.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct output {
    char *text;
    size_t size;
    size_t length; /* what a large enough buffer would hold */
};

struct conversion {
    bool left;
    char padding;
    unsigned width;
    int precision; /* -1: none */
    unsigned longs;
};

static void put_character(struct output *output, char c)
{
    if (output->length + 1 < output->size) {
        output->text[output->length] = c;
    }
    output->length++;
}

static void put_padded(struct output *output, const struct conversion *conversion, const char *text,
                       size_t length)
{
    size_t fill = conversion->width > length ? conversion->width - length : 0;
    for (size_t i = 0; !conversion->left && i < fill; i++) {
        put_character(output, conversion->padding);
    }
    for (size_t i = 0; i < length; i++) {
        put_character(output, text[i]);
    }
    for (size_t i = 0; conversion->left && i < fill; i++) {
        put_character(output, ' ');
    }
}

static void put_number(struct output *output, const struct conversion *conversion, uint64_t value,
                       unsigned base, bool negative)
{
    char digits[24];
    size_t position = sizeof(digits);
    do {
        digits[--position] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    if (negative) {
        digits[--position] = '-';
    }
    put_padded(output, conversion, digits + position, sizeof(digits) - position);
}

static const char *read_conversion(const char *format, struct conversion *conversion)
{
    *conversion = (struct conversion){.padding = ' ', .precision = -1};
    for (;; format++) {
        if (*format == '-') {
            conversion->left = true;
        } else if (*format == '0') {
            conversion->padding = '0';
        } else {
            break;
        }
    }
    while (*format >= '0' && *format <= '9') {
        conversion->width = conversion->width * 10 + (unsigned)(*format++ - '0');
    }
    if (*format == '.') {
        conversion->precision = 0;
        for (format++; *format >= '0' && *format <= '9'; format++) {
            conversion->precision = conversion->precision * 10 + (*format - '0');
        }
    }
    while (*format == 'l' || *format == 'z' || *format == 'h') {
        conversion->longs += *format == 'h' ? 0 : 1; /* long, long long and size_t are alike */
        format++;
    }
    return format;
}

/* A va_list that is passed on by value is spent; wrapped, its progress comes back. */
struct values {
    va_list list;
};

static void put_conversion(struct output *output, char kind, const struct conversion *conversion,
                           struct values *values)
{
    if (kind == 's') {
        const char *text = va_arg(values->list, const char *);
        text = text != NULL ? text : "(null)";
        size_t limit = conversion->precision >= 0 ? (size_t)conversion->precision : SIZE_MAX;
        size_t length = 0;
        while (length < limit && text[length] != '\0') {
            length++;
        }
        put_padded(output, conversion, text, length);
    } else if (kind == 'c') {
        char c = (char)va_arg(values->list, int);
        put_padded(output, conversion, &c, 1);
    } else if (kind == 'd' || kind == 'i') {
        int64_t value =
            conversion->longs > 0 ? va_arg(values->list, long) : va_arg(values->list, int);
        put_number(output, conversion, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10,
                   value < 0);
    } else if (kind == 'u' || kind == 'x' || kind == 'X') {
        uint64_t value = conversion->longs > 0 ? va_arg(values->list, unsigned long)
                                               : va_arg(values->list, unsigned);
        put_number(output, conversion, value, kind == 'u' ? 10 : 16, false);
    } else if (kind == 'p') {
        put_number(output, conversion, (uintptr_t)va_arg(values->list, void *), 16, false);
    } else {
        put_character(output, kind);
    }
}

int vsnprintf(char *text, size_t size, const char *format, va_list list)
{
    struct output output = {text, size, 0};
    struct values values;
    va_copy(values.list, list);
    for (; *format != '\0'; format++) {
        struct conversion conversion;
        if (*format != '%') {
            put_character(&output, *format);
            continue;
        }
        format = read_conversion(format + 1, &conversion);
        if (*format == '\0') {
            break;
        }
        put_conversion(&output, *format, &conversion, &values);
    }
    va_end(values.list);
    if (size > 0) {
        text[output.length < size ? output.length : size - 1] = '\0';
    }
    return (int)output.length;
}

int snprintf(char *text, size_t size, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int length = vsnprintf(text, size, format, list);
    va_end(list);
    return length;
}
