/* Follows a running task: it looks for primes and sends each one as soon as it is found. The worker is this program, spawned.
 *
 *   cc follow.c $(pkg-config --cflags --libs taskring) -o follow && ./follow [FROM [TO]]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <taskring.h>
#include <time.h>

/* What the task takes. */
struct range {
    uint64_t from, to;
};

/* Waits a little while there is no room, for the submitter to read. */
static taskring_status send_prime(uint64_t n) {
    const struct timespec a_moment = {0, 1000000};
    taskring_status status;
    while ((status = taskring_send_event(&n, sizeof n)) == TASKRING_EVENTS_FULL && !taskring_cancel_requested())
        nanosleep(&a_moment, NULL);
    return status;
}

/* Gives how many it has found. */
static int32_t primes(taskring_call *call, void *context) {
    struct range range;
    uint64_t found = 0;
    (void)context;
    memcpy(&range, taskring_call_args(call, NULL), sizeof range);
    for (uint64_t n = range.from; n < range.to; n++) {
        int prime = n > 1;
        for (uint64_t d = 2; prime && d * d <= n; d++)
            prime = n % d != 0;
        if (prime && send_prime(n) != TASKRING_OK) {
            taskring_call_fail(call, taskring_last_error());
            return 1;
        }
        found += (uint64_t)prime;
    }
    return taskring_call_set_result(call, &found, sizeof found);
}

static int failed(const char *what) {
    fprintf(stderr, "%s: %s\n", what, taskring_last_error());
    return 1;
}

int main(int argc, char **argv) {
    taskring_register("primes", primes, NULL, NULL);
    taskring_init(argc, argv);

    const uint64_t from = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000000000;
    const struct range range = {from, argc > 2 ? strtoull(argv[2], NULL, 10) : from + 1000};
    taskring_pool *pool;
    taskring_status status;
    uint64_t ticket, n, found;
    if (taskring_create(NULL, &pool) != TASKRING_OK)
        return failed("create");
    if (taskring_submit_named(pool, "primes", &range, sizeof range, NULL, TASKRING_INFINITE, &ticket) != TASKRING_OK)
        return failed("submit");
    while ((status = taskring_next_event(pool, ticket, TASKRING_INFINITE, &n, sizeof n, NULL)) == TASKRING_OK)
        printf("%" PRIu64 "\n", n);
    if (status != TASKRING_END)
        return failed("next_event");
    /* The result comes last: it uses the ticket up, and what nobody has read goes with it. */
    if (taskring_result(pool, ticket, TASKRING_INFINITE, &found, sizeof found, NULL) != TASKRING_OK)
        return failed("result");
    printf("%" PRIu64 " primes\n", found);
    return taskring_free(pool) == TASKRING_OK ? 0 : failed("free");
}
