/* Loads a shared object, calls it and unloads it, twice. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    for (int i = 0; i < 2; i++) {
        void *plugin = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
        int (*run)(void);
        if (plugin == NULL) {
            fprintf(stderr, "%s\n", argc > 1 ? dlerror() : "a file is missing");
            return 1;
        }
        void *symbol = dlsym(plugin, "run");
        memcpy(&run, &symbol, sizeof run);
        if (run() != 42)
            return 2;
        dlclose(plugin);
    }
    return 0;
}
