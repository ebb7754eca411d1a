/* The owner of a pool ends: owner_exit METHOD HOW FOLDER. It has four files of the folder copied, none of which is before the file "end" is there, and writes
 * that one last of all: so nothing is copied before main is over. */
#include "check.h"
#include <sys/stat.h>

/* from, to and after, each with its zero byte. */
static int32_t copy(taskring_call *call, void *context) {
    const char *from = taskring_call_args(call, NULL), *to = from + strlen(from) + 1, *after = to + strlen(to) + 1;
    char bytes[256];
    struct stat found;
    (void)context;
    for (int i = 0; i < 20000 && stat(after, &found) != 0; i++)
        sleep_ms(1);
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    if (in == NULL || out == NULL)
        return 1;
    size_t len = fread(bytes, 1, sizeof bytes, in);
    int failed = fwrite(bytes, 1, len, out) != len;
    fclose(in);
    return fclose(out) != 0 || failed;
}

static uint64_t submit_copy(taskring_pool *pool, const char *folder, int n) {
    char args[1024];
    int len = snprintf(args, sizeof args, "%s/from%d%c%s/to%d%c%s/end%c", folder, n, 0, folder, n, 0, folder, 0);
    CHECK(len > 0 && (size_t)len < sizeof args);
    return submit(pool, "copy", args, (size_t)len);
}

static void at_the_end(const char *folder) {
    char path[512];
    struct stat found;
    for (int n = 0; n < 4; n++) {
        snprintf(path, sizeof path, "%s/to%d", folder, n);
        CHECK(stat(path, &found) != 0);
    }
    snprintf(path, sizeof path, "%s/end", folder);
    FILE *end = fopen(path, "wb");
    CHECK(end != NULL && fclose(end) == 0);
}

int main(int argc, char **argv) {
    OK(taskring_register("copy", copy, NULL, NULL));
    OK(taskring_init(argc, argv));
    CHECK(argc == 4);
    const char *how = argv[2], *folder = argv[3];
    const int cancels = strcmp(how, "cancels") == 0;
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    config.start_method = strcmp(argv[1], "thread") == 0  ? TASKRING_THREAD
                          : strcmp(argv[1], "spawn") == 0 ? TASKRING_SPAWN
                          : strcmp(argv[1], "fork") == 0  ? TASKRING_FORK
                                                          : TASKRING_FORKSERVER;
    config.workers = cancels ? 1 : 2;
    config.exit_wait_max_ns = strcmp(how, "limited") == 0 ? 200 * MS : 0;
    config.detach_on_exit = strcmp(how, "detached") == 0;
    OK(taskring_create(&config, &pool));
    until_state(pool, submit_copy(pool, folder, 0), TASKRING_RUNNING);
    for (int n = 1; n < 4; n++)
        submit_copy(pool, folder, n);
    if (strcmp(how, "shutdown") == 0)
        OK(taskring_shutdown(pool, 0, 0));
    if (cancels)
        OK(taskring_shutdown(pool, 0, 1));
    if (strcmp(how, "freed") == 0) {
        OK(taskring_shutdown(pool, 0, 0));
        OK(taskring_free(pool));
    }
    /* Of these the tasks never end, and nobody waits for them any longer than was asked. */
    if (config.exit_wait_max_ns != 0 || config.detach_on_exit != 0)
        return 0;
    at_the_end(folder);
    if (strcmp(how, "exit") == 0)
        exit(7);
    return 0;
}
