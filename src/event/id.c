#include "event/id.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/random.h"

static void write_text(const unsigned char bytes[16], char ret_id[SLUICE_EVENT_ID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    size_t place = 0;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            ret_id[place++] = '-';
        }
        ret_id[place++] = digits[bytes[i] >> 4];
        ret_id[place++] = digits[bytes[i] & 15];
    }
    ret_id[place] = '\0';
}

void sl_id_make(int64_t time_ms, const unsigned char random[10], char ret_id[SLUICE_EVENT_ID_SIZE])
{
    unsigned char bytes[16];
    for (size_t i = 0; i < 6; i++) {
        bytes[i] = (unsigned char) ((uint64_t) time_ms >> (40 - 8 * i));
    }
    for (size_t i = 0; i < 10; i++) {
        bytes[6 + i] = random[i];
    }
    bytes[6] = (unsigned char) (0x70 | (bytes[6] & 0x0f));
    bytes[8] = (unsigned char) (0x80 | (bytes[8] & 0x3f));
    write_text(bytes, ret_id);
}

void sl_id_new(char ret_id[SLUICE_EVENT_ID_SIZE])
{
    unsigned char random[10];
    sl_random_bytes(random, sizeof(random));
    sl_id_make(sl_clock_wall_ms(), random, ret_id);
}

void sl_id_floor(int64_t time_ms, char ret_id[SLUICE_EVENT_ID_SIZE])
{
    static const unsigned char zeros[10];
    sl_id_make(time_ms, zeros, ret_id);
}

/* FNV-1a, from a basis that may be chosen. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char) *text) * 1099511628211u;
    }
    return hash;
}

static void write_version_8(uint64_t high, uint64_t low, char ret_id[SLUICE_EVENT_ID_SIZE])
{
    unsigned char bytes[16];
    for (size_t i = 0; i < 8; i++) {
        bytes[i] = (unsigned char) (high >> (56 - 8 * i));
        bytes[8 + i] = (unsigned char) (low >> (56 - 8 * i));
    }
    bytes[6] = (unsigned char) (0x80 | (bytes[6] & 0x0f));
    bytes[8] = (unsigned char) (0x80 | (bytes[8] & 0x3f));
    write_text(bytes, ret_id);
}

void sl_id_of_number(const char *source_id, int64_t number, char ret_id[SLUICE_EVENT_ID_SIZE])
{
    uint64_t bits = (uint64_t) number;
    uint64_t source = hash_text(14695981039346656037u, source_id);
    /* The two bits of the number that the variant leaves no room for end the first half. */
    write_version_8((source & ~(uint64_t) 3) | bits >> 62, bits & (UINT64_MAX >> 2), ret_id);
}

void sl_id_of_text(const char *source_id, const char *text, char ret_id[SLUICE_EVENT_ID_SIZE])
{
    uint64_t source = hash_text(14695981039346656037u, source_id);
    write_version_8(hash_text(source, text), hash_text(~source, text), ret_id);
}
