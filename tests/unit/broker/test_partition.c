#include "broker/broker.h"

#include "support/unit.h"

/* The values of Kafka's own test of Utils.murmur2; the partitioner drops the sign. */
START_TEST(keys_fall_into_the_partitions_that_javas_client_chooses)
{
    const int32_t many = 0x7fffffff;
    ck_assert_int_eq(
        sl_broker_partition_of(SL_TEXT("21"), many), (int32_t) (-973932308 & 0x7fffffff));
    ck_assert_int_eq(
        sl_broker_partition_of(SL_TEXT("foobar"), many), (int32_t) (-790332482 & 0x7fffffff));
    ck_assert_int_eq(sl_broker_partition_of(SL_TEXT("a-little-bit-long-string"), many),
        (int32_t) (-985981536 & 0x7fffffff));
    ck_assert_int_eq(sl_broker_partition_of(SL_TEXT("a-little-bit-longer-string"), many),
        (int32_t) (-1486304829 & 0x7fffffff));
    ck_assert_int_eq(
        sl_broker_partition_of(SL_TEXT("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8"), many),
        (int32_t) (-58897971 & 0x7fffffff));
    ck_assert_int_eq(sl_broker_partition_of(SL_TEXT("abc"), many), 479470107);
}
END_TEST

UNIT_MAIN("partition", keys_fall_into_the_partitions_that_javas_client_chooses)
