// A limited port between its worker and the port that it limits: looks at the clock once a call, and keeps no
// timer.
#include "port/shaped_port.h"

#include <algorithm>

#include <rte_cycles.h>
#include <rte_mbuf.h>

namespace viaduct::dataplane {
namespace {

/// How long a line may be: what `tc tbf` calls latency.
constexpr std::uint64_t kLineMilliseconds = 25;
/// A line always has room for a long segment and one that follows it.
constexpr std::uint64_t kLineLeast = 2 * 65536;
/// A burst where none was asked for.
constexpr std::uint64_t kBurstMilliseconds = 10;
constexpr std::uint64_t kBurstLeast = 16384;
/// Where looking is a system call it is made no more often.
constexpr std::uint64_t kLooksASecond = 20'000;

std::uint64_t bytes_in(std::uint64_t rate, std::uint64_t milliseconds) {
    return rate / 8 * milliseconds / 1000;
}

void set(ByteBucket& bucket, const model::RateLimit& limit) {
    const auto burst =
        limit.burst != 0 ? limit.burst : std::max(kBurstLeast, bytes_in(limit.rate, kBurstMilliseconds));
    bucket.set(limit.rate, burst, rte_get_tsc_hz());
}

}  // namespace

ShapedPort::ShapedPort(std::unique_ptr<Port> inner, std::uint16_t queues)
    : OuterPort(std::move(inner)),
      look_every_(OuterPort::readiness() == Readiness::signalled ? rte_get_tsc_hz() / kLooksASecond : 0),
      queues_(queues) {}

ShapedPort::~ShapedPort() {
    for (auto& queue : queues_) {
        for (std::uint32_t i = 0; i < queue.count; ++i)
            rte_pktmbuf_free(queue.line[(queue.begin + i) % kLine]);
    }
}

void ShapedPort::set_limits(const model::RateLimit& rx, const model::RateLimit& tx) {
    set(rx_, rx);
    set(tx_, tx);
    line_bytes_.store(std::max(kLineLeast, bytes_in(tx.rate, kLineMilliseconds)), std::memory_order_relaxed);
}

std::uint64_t ShapedPort::held() const {
    std::uint64_t held = inner().held();
    for (const auto& queue : queues_)
        held += queue.count.load(std::memory_order_relaxed);
    return held;
}

std::uint16_t ShapedPort::receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) {
    const auto now = rte_rdtsc();
    auto& q = queues_[queue];
    if (q.count.load(std::memory_order_relaxed) != 0) move_line(queue, now);
    if (now < q.look_at) return 0;
    std::uint16_t count = 0;
    if (!rx_.limited()) {
        count = inner().receive(queue, frames, most);
    } else {
        // One at a time: a burst of long segments would be seconds of a slow rate.
        while (count < most && rx_.open(now) && inner().receive(queue, frames + count, 1) == 1)
            rx_.take(now, frames[count++]->pkt_len);
    }
    const bool shut = rx_.limited() && !rx_.open(now);
    if (shut != shut_.load(std::memory_order_relaxed)) shut_.store(shut, std::memory_order_relaxed);
    if (count == 0) q.look_at = now + look_every_;
    return count;
}

/// Sends what may go, in order.
void ShapedPort::move_line(std::uint16_t queue, std::uint64_t now) {
    auto& q = queues_[queue];
    auto count = q.count.load(std::memory_order_relaxed);
    while (count != 0 && (!tx_.limited() || tx_.open(now))) {
        auto* frame = q.line[q.begin];
        const auto bytes = frame->pkt_len;
        if (inner().transmit(queue, &frame, 1) == 0) break;
        tx_.take(now, bytes);
        q.begin = (q.begin + 1) % kLine;
        q.bytes -= bytes;
        --count;
    }
    q.count.store(count, std::memory_order_relaxed);
}

std::uint16_t ShapedPort::transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) {
    auto& q = queues_[queue];
    if (!tx_.limited() && q.count.load(std::memory_order_relaxed) == 0)
        return inner().transmit(queue, frames, count);
    const auto now = rte_rdtsc();
    const auto most = line_bytes_.load(std::memory_order_relaxed);
    std::uint16_t taken = 0;
    for (; taken < count; ++taken) {
        const auto waiting = q.count.load(std::memory_order_relaxed);
        const auto bytes = frames[taken]->pkt_len;
        if (waiting == kLine || q.bytes + bytes > most) break;
        q.line[(q.begin + waiting) % kLine] = frames[taken];
        q.bytes += bytes;
        q.count.store(waiting + 1, std::memory_order_relaxed);
        move_line(queue, now);
    }
    return taken;
}

}  // namespace viaduct::dataplane
