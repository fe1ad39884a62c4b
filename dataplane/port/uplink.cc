// Bursts to and from the device, and who is told when its link changes.
#include "port/uplink.h"

#include <cerrno>

#include <rte_alarm.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_pause.h>
#include <spdlog/spdlog.h>

#include "port/namespace_visit.h"
#include "port/tap_device.h"

namespace viaduct::dataplane {
namespace {

constexpr std::uint64_t kLookEvery = 200'000;  // microseconds

std::unique_ptr<Ethdev> open_device(const model::Port& port, rte_mempool* pool, const Descriptor& where) {
    const NamespaceVisit visit(where);
    return std::make_unique<Ethdev>(port, pool);
}

/// Frames of which nothing is left to do.
class Plain final : public Sender {
public:
    explicit Plain(std::uint16_t device) : device_(device) {}
    std::uint16_t send(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) override {
        return rte_eth_tx_burst(device_, queue, frames, count);
    }

private:
    std::uint16_t device_;
};

}  // namespace

Uplink::Uplink(const model::Port& port, PortIndex index, rte_mempool* pool, PortListener& listener,
               std::shared_ptr<void> share)
    : share_(std::move(share)),
      index_(index),
      pool_(pool),
      listener_(listener),
      queues_(port.queues),
      namespace_(open_namespace({{}, port.uplink.netns, 0}).handle),
      device_(open_device(port, pool, namespace_)),
      id_(device_->id()) {
    for (std::uint16_t queue = 0; queue < queues_; ++queue)
        descriptors_.push_back(device_->receive_descriptor(queue));
    {
        const NamespaceVisit visit(namespace_);
        link_.store(device_->link(), std::memory_order_release);
    }
    watch();
}

void Uplink::stop() {
    if (stopped_) return;
    stopped_ = true;
    unwatch();
    link_.store(Ethdev::Link::gone, std::memory_order_release);
    const NamespaceVisit visit(namespace_);
    device_->close();
}

void Uplink::set_mtu(std::uint32_t mtu) {
    std::string why;
    const NamespaceVisit visit(namespace_);
    if (!device_->set_mtu(mtu, why)) spdlog::warn("uplink {}: mtu {}", device_->name().name, why);
}

// --- the queue's worker ---

std::uint16_t Uplink::receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) {
    const auto count = rte_eth_rx_burst(id_, queue, frames, most);
    std::uint16_t kept = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
        auto* frame = frames[i];
        // A tag that the device took out belongs into the frame.
        if ((frame->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0 && rte_vlan_insert(&frame) != 0)
            [[unlikely]] {
            rte_pktmbuf_free(frame);
            refused_here_.fetch_add(1, std::memory_order_relaxed);
            continue;
        }
        frame->ol_flags &= kBufferKind;
        frames[kept++] = frame;
    }
    return kept;
}

std::uint16_t Uplink::transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) {
    const auto can = device_->offloads();
    if (must_finish(can, frames, count)) [[unlikely]]
        return finish_and_send(*this, can, pool_, queue, frames, count, cut_short_);
    return rte_eth_tx_burst(id_, queue, frames, count);
}

/// Frames of which something is left to the device, among others.
std::uint16_t Uplink::send(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) {
    if (device_->sums_ip()) {
        // Of a segment that the device cuts it has to write each piece's IPv4 header (rte_mbuf_core.h).
        constexpr auto kBoth = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4;
        for (std::uint16_t i = 0; i < count; ++i) {
            if ((frames[i]->ol_flags & kBoth) == kBoth) frames[i]->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
        }
    }
    const auto prepared = rte_eth_tx_prepare(id_, queue, frames, count);
    const auto sent = rte_eth_tx_burst(id_, queue, frames, prepared);
    if (sent < prepared || prepared == count) return sent;
    // One that the device does not take as it is (pieces too short for it) is finished here; who called comes
    // again with the rest.
    frames[prepared]->ol_flags &= ~RTE_MBUF_F_TX_IP_CKSUM;
    Plain plain(id_);
    return static_cast<std::uint16_t>(
        prepared + finish_and_send(plain, 0, pool_, queue, frames + prepared, 1, cut_short_));
}

void Uplink::arm(std::uint16_t queue) {
    if (descriptors_[queue] >= 0) rte_eth_dev_rx_intr_enable(id_, queue);
}

void Uplink::disarm(std::uint16_t queue) {
    if (descriptors_[queue] >= 0) rte_eth_dev_rx_intr_disable(id_, queue);
}

// --- the link ---

int Uplink::wait_descriptor(std::uint16_t queue) const {
    return queue < descriptors_.size() ? descriptors_[queue] : -1;
}

std::uint64_t Uplink::refused() const {
    rte_eth_stats stats{};
    if (rte_eth_stats_get(id_, &stats) != 0) stats = {};
    return stats.imissed + stats.ierrors + stats.rx_nombuf + refused_here_.load(std::memory_order_relaxed);
}

std::string Uplink::detail() const {
    switch (link_.load(std::memory_order_acquire)) {
        case Ethdev::Link::gone:
            return "the device " + device_->name().name +
                   (device_->name().interface.empty() ? ""
                                                      : " or its interface " + device_->name().interface) +
                   " has gone; delete the port and add it again";
        case Ethdev::Link::down:
            return device_->words() + ": no carrier";
        case Ethdev::Link::up:
            break;
    }
    return device_->words();
}

/// DPDK's interrupt thread, and its alarms, which run there too.
void Uplink::look() {
    const auto before = link_.load(std::memory_order_acquire);
    if (before == Ethdev::Link::gone) return;
    const auto now = [this] {
        const NamespaceVisit visit(namespace_);
        return device_->link();
    }();
    if (now == before) return;
    link_.store(now, std::memory_order_release);
    if (now == Ethdev::Link::gone) spdlog::warn("uplink {}: has gone", device_->name().name);
    listener_.port_changed(index_);
}

struct Uplink::Events {
    static void look_again(void* self) {
        static_cast<Uplink*>(self)->look();
        rte_eal_alarm_set(kLookEvery, look_again, self);
    }
    static int link_changed(std::uint16_t /*id*/, rte_eth_event_type /*what*/, void* self, void* /*more*/) {
        static_cast<Uplink*>(self)->look();
        return 0;
    }
    static int removed(std::uint16_t /*id*/, rte_eth_event_type /*what*/, void* self, void* /*more*/) {
        auto& uplink = *static_cast<Uplink*>(self);
        if (uplink.link_.exchange(Ethdev::Link::gone) != Ethdev::Link::gone)
            uplink.listener_.port_changed(uplink.index_);
        return 0;
    }
};

void Uplink::watch() {
    rte_eth_dev_callback_register(id_, RTE_ETH_EVENT_INTR_LSC, Events::link_changed, this);
    rte_eth_dev_callback_register(id_, RTE_ETH_EVENT_INTR_RMV, Events::removed, this);
    rte_eal_alarm_set(kLookEvery, Events::look_again, this);
}

void Uplink::unwatch() {
    // Each waits for one that runs; the alarm's also takes away what that one has set again.
    rte_eal_alarm_cancel(Events::look_again, this);
    while (rte_eth_dev_callback_unregister(id_, RTE_ETH_EVENT_INTR_LSC, Events::link_changed, this) ==
           -EAGAIN)
        rte_pause();
    while (rte_eth_dev_callback_unregister(id_, RTE_ETH_EVENT_INTR_RMV, Events::removed, this) == -EAGAIN)
        rte_pause();
}

}  // namespace viaduct::dataplane
