/* Two translation units that include the header link. */
#include <taskring.h>
#include <taskring.h>

uint32_t version_of_b(void);

int main(void) { return version_of_b() == taskring_version() ? 0 : 1; }
