/*
 * What broker/ makes of Kafka, as far as the relay can tell; see broker/broker.h for the contract.
 */
#include <string.h>

#include "base/error.h"
#include "brokers.h"
#include "database.h"

enum {
    LANES = 4, /* partitions of all topics; the topic of lane n is n % TOPICS */
    TOPICS = 2,
    SESSIONS_MAX = 64, /* producers that have something on its way */
    QUEUE_MAX = 128,
    PIECES_MAX = 8,
    PIECE_EVENTS_MAX = 16,
    IN_FLIGHT_MAX = 4, /* messages of one request */
    SLACK_MS = 10000
};

/* A producer: what it has sent, and what has not arrived yet of each partition, in order. */
struct session {
    bool is_used;
    bool is_given_up;
    int client;
    int queue[LANES][QUEUE_MAX];
    int queue_count[LANES];
};

enum message_state { MESSAGE_KNOWN, MESSAGE_SENT, MESSAGE_ARRIVED, MESSAGE_ACKNOWLEDGED };

/* An append in hand. */
struct piece {
    bool is_used;
    bool is_once;
    struct sl_append append;
    int rows[PIECE_EVENTS_MAX];
    enum message_state states[PIECE_EVENTS_MAX];
    size_t condemned; /* SIZE_MAX: none */
};

struct client {
    struct sl_broker broker; /* first, so that one is the other */
    bool is_used;
    int process;
    int session;    /* -1: none */
    bool is_failed; /* the session has */
    bool is_prepared[TOPICS];
    int64_t tail_read[TOPICS];    /* when its tail was read: the number of arrivals by then */
    int64_t tail_from_ms[TOPICS]; /* and from what time of events on */
    bool is_seen[DB_ROWS_MAX];
    int64_t sent_then[DB_ROWS_MAX]; /* tail_read of its topic when the message was sent */
    struct piece pieces[PIECES_MAX];
};

static struct session sessions[SESSIONS_MAX];
static struct client clients[2 * SIM_PROCESSES];
static int lane_rows[LANES][4 * DB_ROWS_MAX]; /* what is in the partitions */
static int lane_count[LANES];
static int64_t arrivals;
static int64_t arrival_of[DB_ROWS_MAX]; /* the number of its first arrival; 0: none */
static int64_t faults_then[DB_ROWS_MAX];
static int64_t away_until_ms;

static int lane_of(int row)
{
    return database.rows[row].key % LANES;
}

static int topic_of(int row)
{
    return lane_of(row) % TOPICS;
}

static struct client *of(struct sl_broker *broker)
{
    return (struct client *) (void *) broker;
}

static int outage(const char *what, struct sluice_error *error)
{
    return sl_fail(error, SLUICE_UNAVAILABLE, SLUICE_RETRY, "simulated: %s", what);
}

/* A message gets into its partition. */
static void arrive(const struct session *session, int row, bool is_once)
{
    const struct client *client = &clients[session->client];
    const char *explanation = NULL;
    if (database.rows[row].is_sent) {
        if (session->is_given_up) {
            explanation = "late";
        } else if (arrival_of[row] > client->sent_then[row]) {
            explanation = "another producer's message came after the tail was read";
        }
        broker_counts.late += explanation != NULL ? 1 : 0;
        if (explanation == NULL && is_once && database.fault_count > faults_then[row]) {
            explanation = "redriven again after a fault";
            broker_counts.repeats++;
        } else if (explanation == NULL &&
            database.rows[row].event.time_ms < client->tail_from_ms[topic_of(row)]) {
            explanation = "written long before it was committed, and so not looked for";
            broker_counts.repeats++;
        }
    }
    judge_arrival(row, explanation);
    arrivals++;
    if (arrival_of[row] == 0) {
        arrival_of[row] = arrivals;
        faults_then[row] = database.fault_count;
    }
    int lane = lane_of(row);
    if (lane_count[lane] == 4 * DB_ROWS_MAX) {
        sim_fail("a partition has more than %d records", 4 * DB_ROWS_MAX);
    }
    lane_rows[lane][lane_count[lane]++] = row;
}

/* The client's message of the row that is on its way, or NULL. */
static struct piece *piece_of(struct client *client, int row, size_t *ret_index)
{
    for (int i = 0; i < PIECES_MAX; i++) {
        struct piece *piece = &client->pieces[i];
        for (size_t j = 0; piece->is_used && j < piece->append.count; j++) {
            if (piece->rows[j] == row && piece->states[j] == MESSAGE_SENT) {
                *ret_index = j;
                return piece;
            }
        }
    }
    return NULL;
}

static void shift(struct session *session, int lane)
{
    memmove(session->queue[lane], session->queue[lane] + 1,
        (size_t) --session->queue_count[lane] * sizeof(session->queue[lane][0]));
}

/* Of what a producer had sent when it was given up, one request a partition may still arrive. */
static void give_up(struct session *session, int condemned_lane)
{
    session->is_given_up = true;
    for (int i = 0; i < LANES; i++) {
        int left = i == condemned_lane ? 0 : (int) sim_random(IN_FLIGHT_MAX + 1);
        session->queue_count[i] = session->queue_count[i] < left ? session->queue_count[i] : left;
    }
}

static void fail_session(struct client *client, int condemned_lane)
{
    sim_trace("the producer has failed");
    database.fault_count++;
    client->is_failed = true;
    give_up(&sessions[client->session], condemned_lane);
}

static bool is_empty(const struct session *session)
{
    int count = 0;
    for (int i = 0; i < LANES; i++) {
        count += session->queue_count[i];
    }
    return count == 0;
}

/* A request of a producer that works: each of its messages is taken or condemned. */
static void take_request(struct session *session, int lane)
{
    struct client *client = &clients[session->client];
    for (uint64_t i = 1 + sim_random(IN_FLIGHT_MAX); i > 0 && session->queue_count[lane] > 0; i--) {
        int row = session->queue[lane][0];
        size_t index;
        struct piece *piece = piece_of(client, row, &index);
        if (piece == NULL) {
            sim_fail("event %d is on its way and nobody has sent it", row);
        }
        if (broker_condemns(row)) {
            sim_trace("event %d is condemned by a delivery report", row);
            piece->condemned = index;
            fail_session(client, lane);
            return;
        }
        shift(session, lane);
        piece->states[index] = MESSAGE_ARRIVED;
        arrive(session, row, piece->is_once);
    }
}

static void report_arrived(struct client *client)
{
    for (int i = 0; i < PIECES_MAX; i++) {
        struct piece *piece = &client->pieces[i];
        for (size_t j = 0; piece->is_used && j < piece->append.count; j++) {
            if (piece->states[j] == MESSAGE_ARRIVED && !sim_once_in(4)) {
                piece->states[j] = MESSAGE_ACKNOWLEDGED;
            }
        }
    }
}

static void step_session(struct session *session)
{
    int lane = (int) sim_random(LANES);
    if (session->is_given_up) {
        if (session->queue_count[lane] > 0 && sim_now_ms >= away_until_ms) {
            int row = session->queue[lane][0];
            if (broker_condemns(row) || sim_once_in(4)) {
                session->queue_count[lane] = 0; /* it never arrives, and nothing behind it */
            } else {
                shift(session, lane);
                arrive(session, row, true);
            }
        }
        session->is_used = !is_empty(session);
        return;
    }
    struct client *client = &clients[session->client];
    if (client->is_failed ||
        (sim_processes[client->process].paused_until_ms > sim_now_ms && !sim_once_in(8))) {
        return;
    }
    if (sim_now_ms < away_until_ms) {
        if (sim_once_in(50)) {
            fail_session(client, -1); /* the relay loses patience */
        }
        return;
    }
    if (session->queue_count[lane] > 0) {
        take_request(session, lane);
    }
    if (!client->is_failed) {
        report_arrived(client);
        if (!is_empty(session) && database.fault_percent > 0 && sim_once_in(100)) {
            fail_session(client, -1);
        }
    }
}

void kafka_step(void)
{
    int first = (int) sim_random(SESSIONS_MAX);
    for (int i = 0; i < SESSIONS_MAX; i++) {
        struct session *session = &sessions[(first + i) % SESSIONS_MAX];
        /* What was given up comes late. */
        if (session->is_used && (!session->is_given_up || sim_once_in(3))) {
            step_session(session);
            return;
        }
    }
}

/* How the piece ended; false if that is not known yet. */
static bool is_done(
    const struct client *client, const struct piece *piece, int *ret_status, size_t *ret_rejected)
{
    *ret_rejected = piece->condemned;
    *ret_status = client->is_failed ? -1 : 0;
    for (size_t i = 0; i < piece->append.count && !client->is_failed; i++) {
        if (piece->states[i] != MESSAGE_KNOWN && piece->states[i] != MESSAGE_ACKNOWLEDGED) {
            return false;
        }
    }
    return true;
}

static void close_session(struct client *client)
{
    if (client->session >= 0) {
        sessions[client->session].is_used = !is_empty(&sessions[client->session]);
        client->session = -1;
    }
}

/* From now on it is unknown what is in the topics. */
static void doubt(struct client *client)
{
    memset(client->is_prepared, 0, sizeof(client->is_prepared));
}

bool kafka_serve(int process)
{
    struct client *client = clients;
    while (
        client < clients + 2 * SIM_PROCESSES && (!client->is_used || client->process != process)) {
        client++;
    }
    if (client == clients + 2 * SIM_PROCESSES) {
        return false;
    }
    struct piece done[PIECES_MAX];
    int statuses[PIECES_MAX];
    size_t rejected[PIECES_MAX];
    int count = 0;
    for (int i = 0; i < PIECES_MAX; i++) {
        struct piece *piece = &client->pieces[i];
        if (!piece->is_used || !is_done(client, piece, &statuses[count], &rejected[count])) {
            continue;
        }
        for (size_t j = 0; j < piece->append.count; j++) {
            client->is_seen[piece->rows[j]] =
                client->is_seen[piece->rows[j]] || piece->states[j] == MESSAGE_ACKNOWLEDGED;
        }
        done[count++] = *piece;
        piece->is_used = false;
    }
    if (client->is_failed) {
        close_session(client);
        doubt(client);
        client->is_failed = false;
    }
    sim_current = process;
    for (int i = 0; i < count && client->is_used; i++) {
        struct sluice_error error;
        int status = rejected[i] == SIZE_MAX
            ? outage("a delivery failed", &error)
            : sl_fail(&error, SLUICE_TOO_LARGE, SLUICE_REJECT, "poison");
        (void) status;
        sim_trace("append of %zu events ends: %d", done[i].append.count, statuses[i]);
        done[i].append.on_done(done[i].append.context, statuses[i], rejected[i], &error);
    }
    return count > 0;
}

/* Read the topic's tail from the time of an event on. */
static void prepare(struct client *client, int topic, int64_t time_ms)
{
    for (int lane = topic; lane < LANES; lane += TOPICS) {
        int i = 0;
        while (i < lane_count[lane] &&
            database.rows[lane_rows[lane][i]].event.time_ms < time_ms - SLACK_MS) {
            i++;
        }
        for (; i < lane_count[lane]; i++) {
            client->is_seen[lane_rows[lane][i]] = true;
        }
    }
    sim_trace("reads the tail of topic %d from %lld ms on", topic, (long long) time_ms);
    client->is_prepared[topic] = true;
    client->tail_read[topic] = arrivals;
    client->tail_from_ms[topic] = time_ms - SLACK_MS;
}

static int prepare_all(
    struct client *client, const struct sl_append *append, struct sluice_error *error)
{
    int64_t oldest_ms[TOPICS] = {INT64_MAX, INT64_MAX};
    for (size_t i = 0; i < append->count; i++) {
        int topic = topic_of(db_row_of(&append->events[i]));
        oldest_ms[topic] = append->events[i].time_ms < oldest_ms[topic] ? append->events[i].time_ms
                                                                        : oldest_ms[topic];
    }
    for (int topic = 0; topic < TOPICS; topic++) {
        if (client->is_prepared[topic] || oldest_ms[topic] == INT64_MAX) {
            continue;
        }
        if (sim_now_ms < away_until_ms) {
            return outage("the broker is away", error);
        }
        prepare(client, topic, oldest_ms[topic]);
    }
    return 0;
}

static int open_session(struct client *client)
{
    int i = 0;
    while (i < SESSIONS_MAX && sessions[i].is_used) {
        i++;
    }
    if (i == SESSIONS_MAX) {
        sim_fail("more than %d producers", SESSIONS_MAX);
    }
    memset(&sessions[i], 0, sizeof(sessions[i]));
    sessions[i].is_used = true;
    sessions[i].client = (int) (client - clients);
    return i;
}

static struct piece *make_piece(struct client *client, const struct sl_append *append, bool is_once)
{
    struct piece *piece = client->pieces;
    while (piece < client->pieces + PIECES_MAX && piece->is_used) {
        piece++;
    }
    if (piece == client->pieces + PIECES_MAX || append->count > PIECE_EVENTS_MAX) {
        sim_fail("more than %d appends, or more than %d events", PIECES_MAX, PIECE_EVENTS_MAX);
    }
    *piece = (struct piece) {
        .is_used = true, .is_once = is_once, .append = *append, .condemned = SIZE_MAX};
    return piece;
}

/* Give the events to the producer; false if all of them are in the topics. */
static bool send_piece(struct client *client, struct piece *piece)
{
    bool is_sent = false;
    if (client->session < 0) {
        client->session = open_session(client);
    }
    struct session *session = &sessions[client->session];
    for (size_t i = 0; i < piece->append.count; i++) {
        int row = db_row_of(&piece->append.events[i]);
        int lane = lane_of(row);
        piece->rows[i] = row;
        piece->states[i] = client->is_seen[row] ? MESSAGE_KNOWN : MESSAGE_SENT;
        if (!client->is_seen[row]) {
            client->sent_then[row] = client->tail_read[topic_of(row)];
            if (session->queue_count[lane] == QUEUE_MAX) {
                sim_fail("a producer's queue is full");
            }
            session->queue[lane][session->queue_count[lane]++] = row;
            is_sent = true;
        }
    }
    return is_sent;
}

static int append(struct client *client, const struct sl_append *append, bool is_once,
    size_t *ret_rejected, struct sluice_error *error)
{
    bool is_lost; /* sending has no answer to be lost: taken for a failure before it */
    *ret_rejected = SIZE_MAX;
    if (db_enter(client->process, &is_lost, error) != 0) {
        return -1;
    }
    if (is_lost || client->is_failed) {
        return outage("the producer fails", error);
    }
    if (append->count == 0) {
        return 0;
    }
    bool is_known_before = sim_once_in(2); /* too large even for the client */
    for (size_t i = 0; i < append->count && is_known_before; i++) {
        if (broker_condemns(db_row_of(&append->events[i]))) {
            *ret_rejected = i;
            return sl_fail(error, SLUICE_TOO_LARGE, SLUICE_REJECT, "poison");
        }
    }
    if (prepare_all(client, append, error) != 0) {
        return -1;
    }
    struct piece *piece = make_piece(client, append, is_once);
    if (!send_piece(client, piece)) {
        piece->is_used = false;
        return 0;
    }
    sim_trace("sends %zu events, the first is %d%s", append->count, piece->rows[0],
        is_once ? ", out of turn" : "");
    return SL_APPEND_PENDING;
}

static int append_batch(struct sl_broker *broker, const struct sl_append *batch,
    size_t *ret_rejected, struct sluice_error *error)
{
    return append(of(broker), batch, false, ret_rejected, error);
}

static int append_once(
    struct sl_broker *broker, const struct sl_append *one, struct sluice_error *error)
{
    size_t ignored;
    return append(of(broker), one, true, &ignored, error);
}

static int source_position(struct sl_broker *broker, const struct sl_source *source,
    struct sl_position *ret_position, struct sluice_error *error)
{
    bool is_lost;
    if (db_enter(of(broker)->process, &is_lost, error) != 0) {
        return -1;
    }
    doubt(of(broker));
    *ret_position = source->confirmed;
    return 0;
}

static void close_client(struct sl_broker *broker)
{
    struct client *client = of(broker);
    if (client->session >= 0) {
        if (!sessions[client->session].is_given_up) {
            give_up(&sessions[client->session], -1);
        }
        close_session(client);
    }
    client->is_used = false;
}

void kafka_leave(int64_t until_ms)
{
    away_until_ms = until_ms;
}

bool kafka_is_quiet(void)
{
    for (int i = 0; i < SESSIONS_MAX; i++) {
        if (sessions[i].is_used && !is_empty(&sessions[i])) {
            return false;
        }
    }
    return true;
}

void kafka_reset(void)
{
    memset(sessions, 0, sizeof(sessions));
    memset(clients, 0, sizeof(clients));
    memset(lane_count, 0, sizeof(lane_count));
    memset(arrival_of, 0, sizeof(arrival_of));
    arrivals = 0;
    away_until_ms = 0;
}

struct sl_broker *kafka_open(void)
{
    static const struct sl_broker_ops ops = {
        .append = append_batch,
        .append_once = append_once,
        .source_position = source_position,
        .close = close_client,
    };
    struct client *client = clients;
    while (client->is_used) {
        client++;
    }
    memset(client, 0, sizeof(*client));
    client->broker = (struct sl_broker) {.ops = &ops, .needs_lease = true};
    client->is_used = true;
    client->process = sim_current;
    client->session = -1;
    return &client->broker;
}
