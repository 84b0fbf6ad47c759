/*
 * The chunked coding. The decoder is a state machine over bytes; a run of data is handed out as a
 * view, so that nothing is copied.
 *
 *   state          byte                      next
 *   SIZE           hex digit                 SIZE (16 digits at most)
 *                  ';'                       EXTENSION    (after a digit)
 *                  CR                        SIZE_LF      (after a digit)
 *   EXTENSION      visible, blank            EXTENSION    (256 bytes a line at most)
 *                  CR                        SIZE_LF
 *   SIZE_LF        LF                        DATA, or LINE_START if the size is 0
 *   DATA           any                       DATA_CR when none is left
 *   DATA_CR        CR                        DATA_LF
 *   DATA_LF        LF                        SIZE
 *   LINE_START     CR                        END_LF
 *                  token character           TRAILER
 *   TRAILER        visible, blank            TRAILER      (4 KiB of them at most)
 *                  CR                        TRAILER_LF
 *   TRAILER_LF     LF                        LINE_START
 *   END_LF         LF                        complete
 * Anything else is refused.
 */
#include "wire/http1_internal.h"

enum {
    STATE_SIZE,
    STATE_EXTENSION,
    STATE_SIZE_LF,
    STATE_DATA,
    STATE_DATA_CR,
    STATE_DATA_LF,
    STATE_LINE_START,
    STATE_TRAILER,
    STATE_TRAILER_LF,
    STATE_END_LF,
    STATE_END
};

static int hex_value(unsigned char byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static bool is_text(unsigned char byte)
{
    return (byte >= 0x20 && byte != 0x7f) || byte == '\t';
}

static int step_size(struct sl_http1_chunks *chunks, unsigned char byte)
{
    int value = hex_value(byte);
    if (value >= 0) {
        if (++chunks->digit_count > 15) {
            return -1;
        }
        chunks->left = chunks->left * 16 + (uint64_t) value;
        return 0;
    }
    if (chunks->digit_count == 0 || (byte != ';' && byte != '\r')) {
        return -1;
    }
    chunks->state = byte == ';' ? STATE_EXTENSION : STATE_SIZE_LF;
    return 0;
}

static int step_trailer(struct sl_http1_chunks *chunks, unsigned char byte)
{
    if (++chunks->trailers_size > SL_HTTP1_TRAILERS_SIZE_MAX) {
        return -1;
    }
    if (chunks->state == STATE_LINE_START) {
        if (byte != '\r' && !sl_http1_is_token_char(byte)) {
            return -1;
        }
        chunks->state = byte == '\r' ? STATE_END_LF : STATE_TRAILER;
    } else if (byte == '\r') {
        chunks->state = STATE_TRAILER_LF;
    } else if (!is_text(byte)) {
        return -1;
    }
    return 0;
}

static int step_expected(struct sl_http1_chunks *chunks, unsigned char byte)
{
    static const struct {
        unsigned char expected;
        uint8_t next;
    } steps[] = {
        [STATE_DATA_CR] = {'\r', STATE_DATA_LF},
        [STATE_DATA_LF] = {'\n', STATE_SIZE},
        [STATE_TRAILER_LF] = {'\n', STATE_LINE_START},
        [STATE_END_LF] = {'\n', STATE_END},
    };
    if (byte != steps[chunks->state].expected) {
        return -1;
    }
    chunks->state = steps[chunks->state].next;
    return 0;
}

/* Any byte but one of data. */
static int step(struct sl_http1_chunks *chunks, unsigned char byte)
{
    switch (chunks->state) {
    case STATE_SIZE:
        return ++chunks->line_size > SL_HTTP1_CHUNK_LINE_MAX ? -1 : step_size(chunks, byte);
    case STATE_EXTENSION:
        if (++chunks->line_size > SL_HTTP1_CHUNK_LINE_MAX) {
            return -1;
        }
        if (byte == '\r') {
            chunks->state = STATE_SIZE_LF;
            return 0;
        }
        return is_text(byte) ? 0 : -1;
    case STATE_SIZE_LF:
        chunks->state = chunks->left == 0 ? STATE_LINE_START : STATE_DATA;
        chunks->digit_count = 0;
        chunks->line_size = 0;
        return byte == '\n' ? 0 : -1;
    case STATE_LINE_START:
    case STATE_TRAILER:
        return step_trailer(chunks, byte);
    default:
        return step_expected(chunks, byte);
    }
}

enum sl_http1_result sl_http1_decode_chunks(struct sl_http1_chunks *chunks, const char *data,
    size_t size, struct sl_text *ret_data, size_t *ret_taken,
    struct sl_http1_refusal *ret_refusal)
{
    size_t place = 0;
    *ret_data = (struct sl_text) {data, 0};
    while (place < size && chunks->state != STATE_END) {
        if (chunks->state == STATE_DATA) {
            size_t run = size - place;
            run = run < chunks->left ? run : (size_t) chunks->left;
            chunks->left -= run;
            chunks->state = chunks->left == 0 ? STATE_DATA_CR : STATE_DATA;
            *ret_data = (struct sl_text) {data + place, run};
            place += run;
            break;
        }
        if (step(chunks, (unsigned char) data[place]) != 0) {
            sl_http1_refuse(ret_refusal, 400, "the chunked body is malformed");
            return SL_HTTP1_INVALID;
        }
        place++;
    }
    *ret_taken = place;
    return chunks->state == STATE_END ? SL_HTTP1_COMPLETE : SL_HTTP1_INCOMPLETE;
}

size_t sl_http1_chunk_line(uint64_t size, char ret_line[static 20])
{
    char digits[16];
    size_t count = 0;
    do {
        digits[count++] = "0123456789abcdef"[size & 15];
        size >>= 4;
    } while (size > 0);
    for (size_t i = 0; i < count; i++) {
        ret_line[i] = digits[count - 1 - i];
    }
    ret_line[count] = '\r';
    ret_line[count + 1] = '\n';
    return count + 2;
}
