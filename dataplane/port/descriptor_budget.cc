#include "port/descriptor_budget.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>

#include "viaduct/fault.h"

namespace viaduct::dataplane {
namespace {

constexpr unsigned kOwn = 128;  // API connections, logs, /proc, descriptors on their way in a message
constexpr rlim_t kMost = 1U << 20U;

}  // namespace

std::shared_ptr<DescriptorBudget> DescriptorBudget::of_process() {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = std::min(limit.rlim_max, kMost);
    ::setrlimit(RLIMIT_NOFILE, &limit);
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const std::filesystem::directory_iterator open("/proc/self/fd");
    const auto used = static_cast<unsigned>(std::distance(begin(open), end(open))) + kOwn;
    const auto most = static_cast<unsigned>(std::min(limit.rlim_cur, kMost));
    return std::make_shared<DescriptorBudget>(most > used ? most - used : 0);
}

unsigned DescriptorBudget::needed(const model::Port& port) {
    const unsigned queues = port.queues;
    switch (port.kind) {
        case model::PortKind::vhost_user:
            // Socket, connection and its duplicate, back channel, eight memory regions and eight more while a
            // new table comes in; for each pair two kicks, two calls, two error descriptors, our epoll and
            // our duplicate of a kick.
            return 4 + 16 + 8 * queues;
        case model::PortKind::tap:
            return 1 + queues;
        case model::PortKind::uplink:
            // A virtio-user device has a kick and a call for each ring; others have fewer.
            return (8 + 4 * queues) * static_cast<unsigned>(model::devices_of(port.uplink).size());
        case model::PortKind::wire:
        case model::PortKind::vxlan:
            break;
    }
    return queues;
}

std::shared_ptr<void> DescriptorBudget::reserve(const model::Port& port) {
    const auto share = needed(port);
    const std::lock_guard lock(mutex_);
    if (share > total_ - reserved_) {
        throw Refused("ports/" + port.name,
                      "needs " + std::to_string(share) + " file descriptors and " +
                          std::to_string(total_ - reserved_) +
                          " are left; raise the process's limit (LimitNOFILE) or remove ports");
    }
    reserved_ += share;
    return {this, [budget = shared_from_this(), share](void*) {
                const std::lock_guard back(budget->mutex_);
                budget->reserved_ -= share;
            }};
}

unsigned DescriptorBudget::reserved() const {
    const std::lock_guard lock(mutex_);
    return reserved_;
}

}  // namespace viaduct::dataplane
