/* The prime pool: which of these large numbers are prime? Workers are this program, spawned.
 *
 *   cc prime.c $(pkg-config --cflags --libs taskring) -o prime && ./prime
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <taskring.h>

static const uint64_t numbers[] = {112272535095293, 112582705942171, 112272535095293,
                                   115280095190773, 115797848077099, 1099726899285419};
enum { COUNT = sizeof numbers / sizeof *numbers };

/* One byte: 1 when the number is prime. */
static int32_t is_prime(taskring_call *call, void *context) {
    uint64_t n;
    size_t len;
    (void)context;
    const void *args = taskring_call_args(call, &len);
    if (len != sizeof n) {
        taskring_call_fail(call, "is_prime wants a number of eight bytes");
        return 1;
    }
    memcpy(&n, args, sizeof n);
    uint8_t prime = n == 2 || (n > 2 && n % 2 != 0);
    for (uint64_t d = 3; prime && d * d <= n; d += 2)
        prime = n % d != 0;
    return taskring_call_set_result(call, &prime, sizeof prime);
}

static int failed(const char *what) {
    fprintf(stderr, "%s: %s\n", what, taskring_last_error());
    return 1;
}

int main(int argc, char **argv) {
    /* First what the workers run, then init: in a worker it does not return. */
    taskring_register("is_prime", is_prime, NULL, NULL);
    taskring_init(argc, argv);

    taskring_pool *pool;
    uint32_t function;
    uint64_t tickets[COUNT];
    taskring_bytes args[COUNT];
    if (taskring_create(NULL, &pool) != TASKRING_OK)
        return failed("create");
    if (taskring_function(pool, "is_prime", &function) != TASKRING_OK)
        return failed("function");
    for (int i = 0; i < COUNT; i++)
        args[i] = (taskring_bytes){&numbers[i], sizeof numbers[i]};
    if (taskring_submit_bulk(pool, function, args, COUNT, NULL, tickets, NULL) != TASKRING_OK)
        return failed("submit");
    for (int i = 0; i < COUNT; i++) {
        uint8_t prime;
        if (taskring_result(pool, tickets[i], TASKRING_INFINITE, &prime, sizeof prime, NULL) != TASKRING_OK)
            return failed("result");
        printf("%" PRIu64 " is %sprime\n", numbers[i], prime ? "" : "not ");
    }
    return taskring_free(pool) == TASKRING_OK ? 0 : failed("free");
}
