#include "base/parse.h"

#include <limits.h>

struct unit {
    const char *name;
    int64_t factor;
};

bool sl_parse_u64(struct sl_text text, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (text.size == 0) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        char digit = text.data[i];
        if (digit < '0' || digit > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t) (digit - '0'), &number)) {
            return false;
        }
    }
    *ret_number = number;
    return true;
}

bool sl_parse_i64(struct sl_text text, int64_t *ret_number)
{
    bool is_negative = text.size > 0 && text.data[0] == '-';
    if (is_negative) {
        text.data++;
        text.size--;
    }
    uint64_t number;
    if (!sl_parse_u64(text, &number) || number > (uint64_t) INT64_MAX) {
        return false;
    }
    *ret_number = is_negative ? -(int64_t) number : (int64_t) number;
    return true;
}

bool sl_parse_hex(struct sl_text text, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (text.size == 0 || text.size > 16) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        unsigned digit = c >= '0' && c <= '9' ? (unsigned) (c - '0')
            : c >= 'a' && c <= 'f'            ? (unsigned) (c - 'a' + 10)
            : c >= 'A' && c <= 'F'            ? (unsigned) (c - 'A' + 10)
                                              : 16;
        if (digit == 16) {
            return false;
        }
        number = number << 4 | digit;
    }
    *ret_number = number;
    return true;
}

/* A number and the unit behind it; the unit must be one of the table. */
static bool parse_with_unit(
    struct sl_text text, const struct unit *units, size_t unit_count, int64_t *ret_number)
{
    size_t digits = 0;
    while (digits < text.size && text.data[digits] >= '0' && text.data[digits] <= '9') {
        digits++;
    }
    uint64_t number;
    if (!sl_parse_u64((struct sl_text) {text.data, digits}, &number)) {
        return false;
    }
    struct sl_text unit = {text.data + digits, text.size - digits};
    for (size_t i = 0; i < unit_count; i++) {
        int64_t product;
        if (sl_text_equal(unit, sl_text_of(units[i].name)) &&
            !__builtin_mul_overflow(number, units[i].factor, &product)) {
            *ret_number = product;
            return true;
        }
    }
    return false;
}

bool sl_parse_duration_ms(struct sl_text text, int64_t *ret_duration_ms)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    return parse_with_unit(text, units, sizeof(units) / sizeof(units[0]), ret_duration_ms);
}

bool sl_parse_size(struct sl_text text, int64_t *ret_size)
{
    static const struct unit units[] = {
        {"", 1}, {"B", 1}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}};
    return parse_with_unit(text, units, sizeof(units) / sizeof(units[0]), ret_size);
}
