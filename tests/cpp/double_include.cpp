// A second translation unit that includes the wrapper.
#include <taskring.hpp>
#include <taskring.hpp>

std::uint32_t version_in_another_file();
std::uint32_t version_in_another_file() { return TASKRING_VERSION; }
