// A program whose header is of another version than the library.
#include <taskring.h>

#undef TASKRING_VERSION
#define TASKRING_VERSION 0xff00
#include "check.hpp"

int main(int argc, char **argv) {
    CHECK(status_of([&] { taskring::init(argc, argv); }) == TASKRING_INCOMPATIBLE);
    std::puts("ok");
}
