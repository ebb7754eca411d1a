/* The reference page's examples in C, and that of the page on pools of processes: see page.rs for what they print. */
#include "seeds.h"

#include <errno.h>
#include <stdatomic.h>

#define BILLION UINT64_C(1000000000)

static const uint64_t NUMBERS[] = {112272535095293, 112582705942171, 112272535095293, 115280095190773, 115797848077099, 1099726899285419};

/* All decimals of a power. The arguments are base and exponent. */
static int32_t power_of(taskring_call *call, void *context) {
    uint64_t args[2], digits[400] = {1}; /* Nine decimals in each, the lowest first. */
    size_t count = 1;
    (void)context;
    memcpy(args, taskring_call_args(call, NULL), sizeof args);
    for (uint64_t i = 0; i < args[1]; i++) {
        uint64_t carry = 0;
        for (size_t at = 0; at < count; at++) {
            carry += digits[at] * args[0];
            digits[at] = carry % BILLION;
            carry /= BILLION;
        }
        if (carry != 0 && count == sizeof digits / sizeof *digits)
            return 1;
        if (carry != 0)
            digits[count++] = carry;
    }
    char text[10 * sizeof digits / sizeof *digits];
    int len = sprintf(text, "%" PRIu64, digits[count - 1]);
    while (--count > 0)
        len += sprintf(text + len, "%09" PRIu64, digits[count - 1]);
    return taskring_call_set_result(call, text, (size_t)len);
}

/* The argument is the number of the file. */
static int32_t copy(taskring_call *call, void *context) {
    char name[32], bytes[256];
    uint64_t n = number(call);
    (void)context;
    snprintf(name, sizeof name, "from%" PRIu64 ".txt", n);
    FILE *from = fopen(name, "r");
    snprintf(name, sizeof name, "to%" PRIu64 ".txt", n);
    FILE *to = fopen(name, "w");
    int failed = from == NULL || to == NULL;
    for (size_t len; !failed && (len = fread(bytes, 1, sizeof bytes, from)) > 0;)
        failed = fwrite(bytes, 1, len, to) != len;
    if (from != NULL)
        fclose(from);
    return (to != NULL && fclose(to) != 0) || failed;
}

/* The argument is the page's name, without a zero. */
static int32_t load(taskring_call *call, void *context) {
    char name[32] = "";
    size_t len;
    (void)context;
    const void *args = taskring_call_args(call, &len);
    memcpy(name, args, len < sizeof name ? len : sizeof name - 1);
    FILE *file = fopen(name, "r");
    if (file == NULL) {
        taskring_call_fail(call, strerror(errno));
        return 1;
    }
    uint64_t bytes = 0;
    while (fgetc(file) != EOF)
        bytes++;
    fclose(file);
    return taskring_call_set_result(call, &bytes, sizeof bytes);
}

static int32_t is_prime(taskring_call *call, void *context) {
    uint64_t n = number(call);
    uint8_t prime = n == 2 || (n > 2 && n % 2 == 1);
    (void)context;
    for (uint64_t d = 3; prime && d * d <= n; d += 2)
        prime = n % d != 0;
    return taskring_call_set_result(call, &prime, sizeof prime);
}

/* Sleeps so many seconds. */
static int32_t doze(taskring_call *call, void *context) {
    (void)context;
    sleep_ms(1000 * (long)number(call));
    return 0;
}

/* Two tasks that wait for each other, in threads of this process: the tickets are there for both once it is said so. */
static struct {
    taskring_pool *pool;
    uint64_t tickets[2];
    atomic_int placed;
} pair;

/* Waits for one of the two, and takes nothing. What it gives itself is 5 when it waits for the second, else 6. */
static int32_t wait_on(taskring_call *call, void *context) {
    uint64_t which = number(call), gives = which == 1 ? 5 : 6, found;
    (void)context;
    for (int i = 0; i < 20000 && !pair.placed; i++)
        sleep_ms(1);
    taskring_status status = taskring_peek(pair.pool, pair.tickets[which], TASKRING_INFINITE, &found, sizeof found, NULL);
    if (status == TASKRING_OK)
        printf("a task: the other one gives %" PRIu64 "\n", found);
    else if (status == TASKRING_WOULD_DEADLOCK)
        printf("a task: its wait could never end\n");
    else
        return 1;
    return taskring_call_set_result(call, &gives, sizeof gives);
}

/* The only worker runs this task: it runs the other one on top of it. */
static int32_t wait_on_own(taskring_call *call, void *context) {
    const uint64_t args[2] = {5, 2};
    taskring_pool *pool = NULL;
    char text[8] = "";
    uint64_t ticket;
    (void)call;
    (void)context;
    if (taskring_current_pool(&pool) != TASKRING_OK)
        return 1;
    taskring_status status = taskring_submit(pool, function(pool, "power_of"), args, sizeof args, NULL, &ticket);
    if (status == TASKRING_OK)
        status = taskring_result(pool, ticket, TASKRING_INFINITE, text, sizeof text - 1, NULL);
    if (status == TASKRING_OK)
        printf("a task: %s\n", text);
    taskring_free(pool);
    return status != TASKRING_OK;
}

static void power(void) {
    taskring_pool *pool = make_pool(TASKRING_THREAD, 1, 64);
    const uint64_t args[2] = {323, 1235};
    const void *data;
    size_t len;
    uint64_t ticket = submit(pool, "power_of", args, sizeof args);
    OK(taskring_view(pool, ticket, SOON, &data, &len));
    printf("main: %zu digits, from %.12s to %.12s\n", len, (const char *)data, (const char *)data + len - 12);
    OK(taskring_release(pool, ticket));
    OK(taskring_free(pool));
}

static void two_wait_for_each_other(void) {
    uint64_t found[2];
    pair.pool = make_pool(TASKRING_THREAD, 2, 64);
    for (uint64_t n = 0; n < 2; n++) {
        const uint64_t other = 1 - n;
        pair.tickets[n] = submit(pair.pool, "wait_on", &other, sizeof other);
    }
    pair.placed = 1;
    /* Both before a result is taken, for that uses its ticket up, and the other one may still look. */
    for (int n = 0; n < 2; n++)
        OK(taskring_wait(pair.pool, pair.tickets[n], SOON));
    for (int n = 0; n < 2; n++)
        OK(taskring_result(pair.pool, pair.tickets[n], 0, &found[n], sizeof found[n], NULL));
    printf("main: %" PRIu64 " and %" PRIu64 "\n", found[0], found[1]);
    OK(taskring_free(pair.pool));
}

static void one_waits_for_its_own_submit(void) {
    taskring_pool *pool = make_pool(TASKRING_THREAD, 1, 64);
    OK(taskring_result(pool, submit(pool, "wait_on_own", NULL, 0), SOON, NULL, 0, NULL));
    printf("main: it is over\n");
    OK(taskring_free(pool));
}

static void four_copies(void) {
    taskring_pool *pool = make_pool(TASKRING_THREAD, 4, 64);
    for (uint64_t n = 1; n <= 4; n++)
        OK(taskring_release(pool, submit(pool, "copy", &n, sizeof n)));
    OK(taskring_free(pool));
    for (int n = 1; n <= 4; n++) {
        char text[64];
        snprintf(text, sizeof text, "to%d.txt", n);
        FILE *file = fopen(text, "r");
        CHECK(file != NULL && fgets(text, sizeof text, file) != NULL);
        fclose(file);
        printf("main: to%d.txt has %s", n, text);
    }
}

static void pages(void) {
    static const char *const PAGES[] = {"page1.html", "page2.html", "page3.html", "page4.html", "missing.html"};
    taskring_pool *pool = make_pool(TASKRING_THREAD, 5, 64);
    taskring_options options = TASKRING_OPTIONS_INIT;
    taskring_completion next;
    uint64_t ticket, bytes;
    size_t count;
    OK(taskring_completions_new(&options.completions));
    for (; options.user_data < 5; options.user_data++) {
        const char *page = PAGES[options.user_data];
        OK(taskring_submit(pool, function(pool, "load"), page, strlen(page), &options, &ticket));
    }
    while (taskring_completions_next(options.completions, SOON, &next, 1, &count) == TASKRING_OK) {
        const char *page = PAGES[next.user_data];
        if (taskring_result(pool, next.ticket, 0, &bytes, sizeof bytes, NULL) == TASKRING_OK)
            printf("%s has %" PRIu64 " bytes\n", page, bytes);
        else
            printf("%s generated an exception: %s\n", page, taskring_last_error());
    }
    OK(taskring_completions_free(options.completions));
    OK(taskring_free(pool));
}

static int32_t next_candidate(void *context, taskring_bytes *args) {
    size_t *at = context;
    if (*at == sizeof NUMBERS / sizeof *NUMBERS)
        return 0;
    args->data = &NUMBERS[(*at)++];
    args->len = sizeof *NUMBERS;
    return 1;
}

static void primes(void) {
    taskring_pool *pool;
    taskring_map *map;
    size_t at = 0;
    uint64_t index;
    uint8_t prime;
    OK(taskring_create(NULL, &pool));
    OK(taskring_map_new(pool, function(pool, "is_prime"), next_candidate, &at, NULL, &map));
    while (taskring_map_next(map, SOON, &prime, sizeof prime, NULL, &index) == TASKRING_OK)
        printf("%" PRIu64 " is prime: %s\n", NUMBERS[index], prime ? "true" : "false");
    OK(taskring_map_free(map));
    OK(taskring_free(pool));
}

static void pool_of_processes(void) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_multi *multi;
    taskring_async *result;
    taskring_bytes values[10], inputs[10];
    uint64_t numbers[10], square, ten = 10;
    size_t count;
    config.workers = 4;
    OK(taskring_multi_create(&config, &multi));

    OK(taskring_multi_apply_async(multi, "square", &ten, sizeof ten, NULL, &result));
    OK(taskring_async_get(result, SOON, values, 1, &count));
    memcpy(&square, values[0].data, sizeof square);
    printf("main: %" PRIu64 "\n", square);
    OK(taskring_async_free(result));

    for (uint64_t x = 0; x < 10; x++) {
        numbers[x] = x;
        inputs[x] = (taskring_bytes){&numbers[x], sizeof numbers[x]};
    }
    OK(taskring_multi_map_async(multi, "square", inputs, 10, 0, NULL, &result));
    OK(taskring_async_get(result, SOON, values, 10, &count));
    printf("main:");
    for (size_t i = 0; i < count; i++) {
        memcpy(&square, values[i].data, sizeof square);
        printf(" %" PRIu64, square);
    }
    printf("\n");
    OK(taskring_async_free(result));

    struct numbers to_nine = {0, 9, 0, 0};
    taskring_map *map;
    OK(taskring_multi_imap(multi, "square", next_number, &to_nine, NULL, &map));
    for (int i = 0; i < 3; i++) {
        OK(taskring_map_next(map, SOON, &square, sizeof square, NULL, NULL));
        printf("main: %" PRIu64 "\n", square);
    }
    OK(taskring_map_free(map));

    OK(taskring_multi_apply_async(multi, "doze", &ten, sizeof ten, NULL, &result));
    if (taskring_async_get(result, 100 * MS, values, 1, &count) == TASKRING_TIMED_OUT)
        printf("main: it timed out\n");
    OK(taskring_async_free(result));
    /* The end of such a pool does not wait for it. */
    OK(taskring_multi_free(multi));
}

int main(int argc, char **argv) {
    static const struct example all[] = {
        {"power", power},
        {"two_wait_for_each_other", two_wait_for_each_other},
        {"one_waits_for_its_own_submit", one_waits_for_its_own_submit},
        {"four_copies", four_copies},
        {"pages", pages},
        {"primes", primes},
        {"pool_of_processes", pool_of_processes},
    };
    OK(taskring_register("power_of", power_of, NULL, NULL));
    OK(taskring_register("copy", copy, NULL, NULL));
    OK(taskring_register("load", load, NULL, NULL));
    OK(taskring_register("is_prime", is_prime, NULL, NULL));
    OK(taskring_register("square", square, NULL, NULL));
    OK(taskring_register("doze", doze, NULL, NULL));
    OK(taskring_register("wait_on", wait_on, NULL, NULL));
    OK(taskring_register("wait_on_own", wait_on_own, NULL, NULL));
    OK(taskring_init(argc, argv));
    return run_example(argc, argv, all, sizeof all / sizeof *all);
}
