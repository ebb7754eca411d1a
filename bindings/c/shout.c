/* C and Rust on one pool: the C side of `cargo run --example attach`, with the same parts and the same function.
 *
 *   cc shout.c $(pkg-config --cflags --libs taskring) -o shout
 *   cargo run --example attach -- make demo    # the pool, without workers; until Enter is pressed
 *   ./shout work demo                          # a worker in C, for submitters in any language
 *   cargo run --example attach -- submit demo  # a submitter in Rust
 *
 * and the other way round: `attach -- work demo` beside `./shout submit demo`.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <taskring.h>
#include <unistd.h>

static int32_t shout(taskring_call *call, void *context) {
    char answer[256];
    size_t len, used;
    (void)context;
    const char *text = taskring_call_args(call, &len);
    if (len > 200) {
        taskring_call_fail(call, "too long to shout");
        return 1;
    }
    for (used = 0; used < len; used++)
        answer[used] = (char)toupper((unsigned char)text[used]);
    used += (size_t)snprintf(answer + used, sizeof answer - used, " (from process %d, in C)", (int)getpid());
    return taskring_call_set_result(call, answer, used);
}

static int failed(const char *what) {
    fprintf(stderr, "%s: %s\n", what, taskring_last_error());
    return 1;
}

static int submit(const char *name) {
    static const char *const words[] = {"one", "two", "three"};
    taskring_pool *pool;
    if (taskring_attach(name, &pool) != TASKRING_OK)
        return failed("attach");
    for (int i = 0; i < 3; i++) {
        uint64_t ticket;
        char answer[256];
        size_t len;
        if (taskring_submit_named(pool, "attach::shout", words[i], strlen(words[i]), NULL, TASKRING_INFINITE, &ticket) != TASKRING_OK)
            return failed("submit");
        if (taskring_result(pool, ticket, TASKRING_INFINITE, answer, sizeof answer, &len) != TASKRING_OK)
            return failed("result");
        printf("%.*s\n", (int)len, answer);
    }
    return taskring_free(pool) == TASKRING_OK ? 0 : failed("free");
}

int main(int argc, char **argv) {
    taskring_register("attach::shout", shout, NULL, NULL);
    taskring_init(argc, argv);
    if (argc == 3 && strcmp(argv[1], "work") == 0)
        return taskring_work(argv[2]) == TASKRING_OK ? 0 : failed("work");
    if (argc == 3 && strcmp(argv[1], "submit") == 0)
        return submit(argv[2]);
    fprintf(stderr, "usage: shout work|submit NAME\n");
    return 2;
}
