// Boost.Interprocess: two message queues in shared memory between this process and its child.
#include "peer.hpp"

#include <boost/interprocess/ipc/message_queue.hpp>
#include <memory>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace bip = boost::interprocess;

namespace {

constexpr std::size_t room = 1024;

// The queue's name goes when its maker has ended.
struct named_queue {
    std::string name;
    bip::message_queue queue;
    explicit named_queue(const std::string &which)
        : name("taskring-peers-" + std::to_string(getpid()) + which),
          queue(bip::create_only, name.c_str(), room, sizeof(std::uint64_t)) {}
    ~named_queue() { bip::message_queue::remove(name.c_str()); }
};

void send(bip::message_queue &queue, std::uint64_t x) { queue.send(&x, sizeof x, 0); }

std::uint64_t receive(bip::message_queue &queue) {
    std::uint64_t x = 0;
    bip::message_queue::size_type len = 0;
    unsigned priority = 0;
    queue.receive(&x, sizeof x, len, priority);
    return x;
}

[[noreturn]] void answer(named_queue &requests, named_queue &answers, int cpu, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    peer::pin(cpu);
    for (;;) send(answers.queue, peer::square(receive(requests.queue)));
}

std::uint64_t behind_window(named_queue &requests, named_queue &answers, std::uint64_t window, std::uint64_t count) {
    std::uint64_t sum = 0;
    for (std::uint64_t x = 0; x < count; ++x) {
        if (x >= window) sum += receive(answers.queue);
        send(requests.queue, x);
    }
    for (std::uint64_t rest = count < window ? count : window; rest != 0; --rest) sum += receive(answers.queue);
    return sum;
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    named_queue requests("-requests"), answers("-answers");
    const pid_t parent = getpid(), child = fork();
    if (child < 0) return 1;
    if (child == 0) answer(requests, answers, std::atoi(argv[2]), parent);
    peer::pin(std::atoi(argv[1]));
    const int status = peer::serve({
        {"Boost message_queue", {"round-trip", 500, [&](std::uint64_t n) { return behind_window(requests, answers, 1, n); }}},
        {"Boost message_queue, window 1000",
         {"single", 40000, [&](std::uint64_t n) { return behind_window(requests, answers, 1000, n); }}},
    });
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    return status;
}
