#include "base/text.h"

#include <ctype.h>

enum { DISTANCE_SIZE_MAX = 64 };

bool sl_text_equal(struct sl_text a, struct sl_text b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static char lower(char character)
{
    return character >= 'A' && character <= 'Z' ? (char) (character + ('a' - 'A')) : character;
}

bool sl_text_equal_nocase(struct sl_text a, struct sl_text b)
{
    if (a.size != b.size) {
        return false;
    }
    for (size_t i = 0; i < a.size; i++) {
        if (lower(a.data[i]) != lower(b.data[i])) {
            return false;
        }
    }
    return true;
}

bool sl_text_split(struct sl_text *rest, char separator, struct sl_text *ret_part)
{
    if (rest->data == NULL) {
        return false;
    }
    const char *found = memchr(rest->data, separator, rest->size);
    if (found == NULL) {
        *ret_part = *rest;
        *rest = (struct sl_text) {NULL, 0};
        return true;
    }
    size_t size = (size_t) (found - rest->data);
    *ret_part = (struct sl_text) {rest->data, size};
    rest->data += size + 1;
    rest->size -= size + 1;
    return true;
}

struct sl_text sl_text_trim(struct sl_text text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

/* The length of the UTF-8 sequence at the front of `bytes`, or 0 if there is no valid one. */
static size_t sequence_size(const unsigned char *bytes, size_t size)
{
    unsigned char first = bytes[0];
    if (first < 0x80) {
        return 1;
    }
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || length > size) {
        return 0;
    }
    unsigned char second = bytes[1];
    unsigned char lowest = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char highest = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (second < lowest || second > highest) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

bool sl_text_is_clean_utf8(struct sl_text text)
{
    const unsigned char *bytes = (const unsigned char *) text.data;
    for (size_t i = 0; i < text.size;) {
        if (bytes[i] >= 0x20 && bytes[i] < 0x7f) {
            i++;
            continue;
        }
        if (bytes[i] < 0x80) {
            return false;
        }
        size_t length = sequence_size(bytes + i, text.size - i);
        if (length == 0) {
            return false;
        }
        i += length;
    }
    return true;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t sl_text_distance(struct sl_text a, struct sl_text b)
{
    if (a.size > DISTANCE_SIZE_MAX || b.size > DISTANCE_SIZE_MAX) {
        return DISTANCE_SIZE_MAX;
    }
    size_t rows[3][DISTANCE_SIZE_MAX + 1];
    for (size_t j = 0; j <= b.size; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a.size; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3];
        const size_t *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            size_t change = a.data[i - 1] == b.data[j - 1] ? 0 : 1;
            row[j] = least(least(above[j] + 1, row[j - 1] + 1), above[j - 1] + change);
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] &&
                a.data[i - 2] == b.data[j - 1]) {
                row[j] = least(row[j], two_above[j - 2] + 1);
            }
        }
    }
    return rows[a.size % 3][b.size];
}
