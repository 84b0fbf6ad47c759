/*
 * order_news.h - what the news from the topics do to an order.
 *
 *     order.requested.v1                we to ourselves: accepted; have it paid
 *     payment.completed.v1              COMPLETED; or, if it was cancelled or timed out meanwhile,
 *                                       the points are asked back by the same transaction
 *     payment.failed.v1                 FAILED, or CANCELLED
 *     payment.compensated.v1            CANCELLED, if the order was cancelled
 *     payment.compensation-failed.v1    COMPENSATION_FAILED: a person has to look
 *
 * Topics overtake each other, and nothing orders the news of two of them about one order. So each
 * asks first for the state that it expects, and changes nothing in any other.
 */
#ifndef EXAMPLES_ORDERS_ORDER_NEWS_H
#define EXAMPLES_ORDERS_ORDER_NEWS_H

#include "service.h"

enum { ORDER_NEWS_COUNT = 5 };

/* Consumers, topics and handlers. Their context is the service's struct live_statuses. */
extern const struct subscription order_news[ORDER_NEWS_COUNT];

#endif
