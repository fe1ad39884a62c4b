// Bursts to and from the device, and who is told when its link changes.
#include "port/uplink.h"

#include <cerrno>
#include <utility>

#include <rte_alarm.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_pause.h>
#include <spdlog/spdlog.h>

#include "viaduct/fault.h"

#include "port/gro_port.h"
#include "port/mac_filter_port.h"
#include "port/namespace_visit.h"
#include "port/tap_device.h"

namespace viaduct::dataplane {
namespace {

/// Microseconds between looks: a bond changes over by them.
constexpr std::uint64_t kLookEvery = 200'000;
constexpr std::uint64_t kLookEveryOfBond = 25'000;
/// Between attempts to open a device that is there again and does not open.
constexpr std::chrono::seconds kTryEvery{2};
/// LACP's own frames wait no longer (net_bonding wants it called ten times a second).
constexpr std::uint64_t kLacpTurnsASecond = 50;

std::unique_ptr<Bond> make_bond(const model::Port& port, PortIndex index, rte_mempool* pool,
                                const Descriptor& where) {
    if (port.uplink.members.empty()) return nullptr;
    const NamespaceVisit visit(where);
    return std::make_unique<Bond>(port, index, pool);
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

struct Uplink::Events {
    static void look_again(void* me) {
        auto& self = *static_cast<Uplink*>(me);
        self.look();
        rte_eal_alarm_set(self.bond_ ? kLookEveryOfBond : kLookEvery, look_again, me);
    }
    static int link_changed(std::uint16_t /*id*/, rte_eth_event_type /*what*/, void* self, void* /*more*/) {
        static_cast<Uplink*>(self)->look();
        return 0;
    }
    static int removed(std::uint16_t /*id*/, rte_eth_event_type /*what*/, void* self, void* /*more*/) {
        static_cast<Uplink*>(self)->note_gone();
        return 0;
    }
};

Uplink::Uplink(const model::Port& port, PortIndex index, rte_mempool* pool, PortListener& listener,
               std::shared_ptr<void> share)
    : share_(std::move(share)),
      index_(index),
      pool_(pool),
      listener_(listener),
      config_(port),
      namespace_(open_namespace({{}, port.uplink.netns, 0}).handle),
      bond_(make_bond(port, index, pool, namespace_)),
      device_(open()),
      id_(device_->id()),
      descriptors_(port.queues, -1) {
    take_up();
    rte_eal_alarm_set(bond_ ? kLookEveryOfBond : kLookEvery, Events::look_again, this);
}

std::unique_ptr<Ethdev> Uplink::open() {
    const NamespaceVisit visit(namespace_);
    auto device = bond_ ? bond_->make() : std::make_unique<Ethdev>(parse_ethdev_name(config_.uplink.device));
    device->start(config_, pool_);
    if (config_.uplink.promiscuous) return device;
    if (bond_) {
        bond_->filter_by(addresses_);
    } else {
        device->filter_by(addresses_, OwnAddress::may_change);
    }
    return device;
}

/// Begins to follow a device that was opened.
void Uplink::take_up() {
    id_ = device_->id();
    for (std::size_t queue = 0; queue < descriptors_.size(); ++queue)
        descriptors_[queue] = device_->receive_descriptor(static_cast<std::uint16_t>(queue));
    watch();
    const NamespaceVisit visit(namespace_);
    link_.store(bond_ ? bond_->look() : device_->link(), std::memory_order_release);
}

void Uplink::stop() {
    if (stopped_) return;
    stopped_ = true;
    // Waits for one that runs, and takes away what that one has set again.
    rte_eal_alarm_cancel(Events::look_again, this);
    unwatch();
    link_.store(Ethdev::Link::gone, std::memory_order_release);
    const std::scoped_lock lock(mutex_);
    const NamespaceVisit visit(namespace_);
    device_->close();
    if (bond_) bond_->close();
}

void Uplink::filter_by(const std::vector<MacAddress>& addresses) {
    if (addresses == addresses_) return;
    const std::scoped_lock lock(mutex_);
    // One that has gone is told when it is back.
    if (bond_) {
        const NamespaceVisit visit(namespace_);
        bond_->filter_by(addresses);
    } else if (link_.load(std::memory_order_acquire) != Ethdev::Link::gone) {
        const NamespaceVisit visit(namespace_);
        try {
            device_->filter_by(addresses, OwnAddress::may_change);
        } catch (const Refused&) {
            // It may be going just now, and nobody has looked since.
            if (device_->link() != Ethdev::Link::gone) throw;
        }
    }
    addresses_ = addresses;
}

void Uplink::set_mtu(std::uint32_t mtu) {
    config_.mtu = mtu;
    if (link_.load(std::memory_order_acquire) == Ethdev::Link::gone) return;
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
    const std::scoped_lock lock(mutex_);
    return refused_by_device() + refused_here_.load(std::memory_order_relaxed);
}

std::uint64_t Uplink::refused_by_device() const {
    rte_eth_stats stats{};
    if (let_go_ || rte_eth_stats_get(id_, &stats) != 0) return 0;
    return stats.imissed + stats.ierrors + stats.rx_nombuf;
}

std::string Uplink::detail() const {
    if (bond_) return bond_->words();
    const std::scoped_lock lock(mutex_);
    const auto& interface = device_->name().interface;
    switch (link_.load(std::memory_order_acquire)) {
        case Ethdev::Link::gone:
            return "the device " + device_->name().name +
                   (interface.empty() ? "" : " or its interface " + interface) +
                   " has gone; it is taken up again when it is back";
        case Ethdev::Link::down:
            return device_->words() + ": no carrier";
        case Ethdev::Link::up:
            break;
    }
    return device_->words();
}

/// DPDK's interrupt thread, and its alarms, which run there too.
void Uplink::look() {
    const NamespaceVisit visit(namespace_);
    const auto before = link_.load(std::memory_order_acquire);
    bool tell = false;
    if (bond_) {
        const auto now = bond_->look();
        needs_tending_.store(bond_->needs_tending(), std::memory_order_release);
        tell = link_.exchange(now, std::memory_order_acq_rel) != now;
    } else if (before != Ethdev::Link::gone) {
        const auto now = device_->link();
        if (now == Ethdev::Link::gone) return note_gone();
        tell = link_.exchange(now, std::memory_order_acq_rel) != now;
    } else {
        const std::unique_lock lock(mutex_, std::try_to_lock);
        if (lock.owns_lock() && std::chrono::steady_clock::now() >= try_at_ && is_present(device_->name()))
            needs_tending_.store(true, std::memory_order_release);
    }
    if (tell || needs_tending()) listener_.port_changed(index_);
}

/// It is to be let go of at once: a driver that was asked for it by the kernel (vfio) is waited for.
void Uplink::note_gone() {
    if (link_.exchange(Ethdev::Link::gone, std::memory_order_acq_rel) == Ethdev::Link::gone) return;
    spdlog::warn("uplink {}: has gone", device_->name().name);
    needs_tending_.store(true, std::memory_order_release);
    listener_.port_changed(index_);
}

void Uplink::tend(const std::function<void()>& wait) {
    const NamespaceVisit visit(namespace_);
    if (bond_) {
        const std::scoped_lock lock(mutex_);
        return bond_->tend(wait);
    }
    if (link_.load(std::memory_order_acquire) != Ethdev::Link::gone) return;
    wait();
    unwatch();
    const std::scoped_lock lock(mutex_);
    needs_tending_.store(false, std::memory_order_release);
    refused_here_.fetch_add(refused_by_device(), std::memory_order_relaxed);
    device_->close();
    // The kernel takes a card away only after this: until then it looks as if it were there.
    if (!std::exchange(let_go_, true) && device_->name().bus == "pci")
        try_at_ = std::chrono::steady_clock::now() + kTryEvery;
    if (std::chrono::steady_clock::now() < try_at_ || !is_present(device_->name())) return;
    try {
        device_ = open();
        let_go_ = false;
        take_up();
        spdlog::info("uplink {}: is back", device_->name().name);
        listener_.port_changed(index_);
    } catch (const Refused& refused) {
        try_at_ = std::chrono::steady_clock::now() + kTryEvery;
        spdlog::debug("uplink {}: is there again and is not taken up: {}", device_->name().name,
                      refused.what());
    }
}

/// A bond's links are looked at often enough, and it tells of them in the middle of its changes.
void Uplink::watch() {
    if (bond_) return;
    rte_eth_dev_callback_register(id_, RTE_ETH_EVENT_INTR_LSC, Events::link_changed, this);
    rte_eth_dev_callback_register(id_, RTE_ETH_EVENT_INTR_RMV, Events::removed, this);
}

void Uplink::unwatch() {
    if (bond_ || let_go_) return;
    while (rte_eth_dev_callback_unregister(id_, RTE_ETH_EVENT_INTR_LSC, Events::link_changed, this) ==
           -EAGAIN)
        rte_pause();
    while (rte_eth_dev_callback_unregister(id_, RTE_ETH_EVENT_INTR_RMV, Events::removed, this) == -EAGAIN)
        rte_pause();
}

// --- LACP ---

std::uint16_t LacpUplink::receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) {
    if (const auto now = rte_rdtsc(); queue == 0 && now - sent_at_ > rte_get_tsc_hz() / kLacpTurnsASecond) {
        sent_at_ = now;
        rte_eth_tx_burst(device_id(), queue, nullptr, 0);
    }
    return Uplink::receive(queue, frames, most);
}

std::unique_ptr<Port> make_uplink(const model::Port& port, PortIndex index, rte_mempool* pool,
                                  PortListener& listener, std::shared_ptr<void> share) {
    std::unique_ptr<Port> uplink;
    if (!port.uplink.members.empty() && port.uplink.bond == model::Bonding::lacp) {
        uplink = std::make_unique<LacpUplink>(port, index, pool, listener, std::move(share));
    } else {
        uplink = std::make_unique<Uplink>(port, index, pool, listener, std::move(share));
    }
    if (!port.uplink.promiscuous) uplink = std::make_unique<MacFilterPort>(std::move(uplink));
    if (port.uplink.gro) uplink = std::make_unique<GroPort>(std::move(uplink));
    return uplink;
}

}  // namespace viaduct::dataplane
