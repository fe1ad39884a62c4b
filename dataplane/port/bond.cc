// Members come and go on the main thread, where workers can be waited for; changing over to another member is
// one store and is done at once.
#include "port/bond.h"

#include <algorithm>
#include <array>
#include <utility>

#include <rte_eth_bond.h>
#include <rte_eth_bond_8023ad.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_version.h>
#include <spdlog/spdlog.h>

#include "viaduct/fault.h"

namespace viaduct::dataplane {
namespace {

#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)
constexpr auto add_member = rte_eth_bond_member_add;
constexpr auto remove_member = rte_eth_bond_member_remove;
constexpr auto lacp_info = rte_eth_bond_8023ad_member_info;
using LacpInfo = struct rte_eth_bond_8023ad_member_info;
#else
constexpr auto add_member = rte_eth_bond_slave_add;
constexpr auto remove_member = rte_eth_bond_slave_remove;
constexpr auto lacp_info = rte_eth_bond_8023ad_slave_info;
using LacpInfo = struct rte_eth_bond_8023ad_slave_info;
#endif

constexpr std::chrono::seconds kTryEvery{2};
/// Frames that a member that waits can have collected, and some; a full cable must not hold us up.
constexpr unsigned kDiscardMost = 4 * kEthdevRing;

unsigned mode_number(model::Bonding mode) {
    switch (mode) {
        case model::Bonding::active_backup:
            return BONDING_MODE_ACTIVE_BACKUP;
        case model::Bonding::lacp:
            return BONDING_MODE_8023AD;
        case model::Bonding::balance_xor:
            break;
    }
    return BONDING_MODE_BALANCE;
}

/// net_bonding makes a pool for LACP's frames with each member, and ends the process where there is no memory
/// for it: the same is asked for beforehand.
void check_lacp_memory(const model::Port& port) {
    const auto frames = static_cast<unsigned>(kEthdevRing * port.queues + 32U);
    const auto members = static_cast<unsigned>(port.uplink.members.size());
    constexpr auto room = static_cast<std::uint16_t>(RTE_PKTMBUF_HEADROOM + 256);
    auto* pool = rte_pktmbuf_pool_create("lacp-memory", frames * members, 0, 0, room, SOCKET_ID_ANY);
    if (pool == nullptr)
        throw Refused("members",
                      "leave no memory for LACP's own frames; give the dataplane more with --memory");
    rte_mempool_free(pool);
}

std::string mac_words(const rte_ether_addr& address) {
    std::array<char, RTE_ETHER_ADDR_FMT_SIZE> text{};
    rte_ether_format_addr(text.data(), text.size(), &address);
    std::string words(text.data());
    std::transform(words.begin(), words.end(), words.begin(),
                   [](unsigned char c) { return c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c; });
    return words;
}

/// A member's fault is told at the key under which the member stands.
Refused among_members(const Refused& refused) {
    Faults faults = refused.faults();
    for (auto& fault : faults) {
        if (fault.where == "device") fault.where = "members";
    }
    return Refused(std::move(faults));
}

}  // namespace

Bond::Bond(const model::Port& port, PortIndex index, rte_mempool* pool)
    : port_(port), mode_(port.uplink.bond), index_(index), pool_(pool) {
    if (mode_ == model::Bonding::lacp) check_lacp_memory(port);
    for (const auto& device : port.uplink.members) {
        members_.emplace_back();
        members_.back().name = parse_ethdev_name(device);
    }
    std::string missing;
    try {
        for (auto& member : members_) {
            if (is_present(member.name)) {
                plug_in(member);
                continue;
            }
            const auto& what = member.name.interface.empty() ? member.name.name : member.name.interface;
            missing += (missing.empty() ? "" : ", ") + what;
        }
    } catch (const Refused& refused) {
        throw among_members(refused);
    }
    if (std::none_of(members_.begin(), members_.end(),
                     [](const auto& member) { return member.device != nullptr; }))
        throw Refused("members", "are none of them there: " + missing + "; one at least has to be");
    if (!missing.empty()) spdlog::warn("port {}: of its bond {} is not there yet", port.name, missing);
}

void Bond::plug_in(Member& member) {
    auto device = std::make_unique<Ethdev>(member.name);
    device->check(port_, pool_);
    member.link = device->link();
    take_or_filter(*device);
    member.device = std::move(device);
}

/// net_bonding asks it of the one that carries alone, and that one changes.
void Bond::take_or_filter(Ethdev& device) const {
    if (port_.uplink.promiscuous) {
        device.take_all();
    } else {
        device.filter_by(addresses_, OwnAddress::stays);
    }
}

void Bond::filter_by(const std::vector<MacAddress>& addresses) {
    const std::scoped_lock lock(mutex_);
    const auto before = std::exchange(addresses_, addresses);
    try {
        for (const auto& member : members_) {
            if (member.device) take_or_filter(*member.device);
        }
    } catch (const Refused&) {
        addresses_ = before;
        filter_again();
        throw;
    }
}

/// net_bonding makes members promiscuous and gives them addresses as they join, start to carry and leave.
void Bond::filter_again() const {
    if (port_.uplink.promiscuous) return;
    for (const auto& member : members_) {
        try {
            if (member.device) take_or_filter(*member.device);
        } catch (const Refused& refused) {
            spdlog::warn("port {}: {}", port_.name, refused.what());
        }
    }
}

std::unique_ptr<Ethdev> Bond::make() {
    const std::scoped_lock lock(mutex_);
    auto joined = std::make_unique<Ethdev>(
        EthdevName{"bond", "net_bonding_p" + std::to_string(index_), std::to_string(mode_number(mode_)), {}});
    id_ = joined->id();
    if (carries_by_link()) rte_eth_bond_xmit_policy_set(id_, BALANCE_XMIT_POLICY_LAYER34);
    for (auto& member : members_) {
        if (member.device) join(member);
    }
    return joined;
}

void Bond::join(Member& member) {
    if (const int error = add_member(id_, member.device->id()); error != 0)
        throw Refused("members", member.name.name + " cannot join the bond; --dpdk-log-level info says why");
    member.joined = true;
}

void Bond::leave(Member& member) {
    if (!member.joined) return;
    if (remove_member(id_, member.device->id()) != 0)
        spdlog::warn("port {}: {} does not leave the bond", port_.name, member.name.name);
    member.joined = false;
}

// --- links ---

bool Bond::others_up(const Member& member) const {
    return std::any_of(members_.begin(), members_.end(), [&](const Member& other) {
        return &other != &member && other.joined && other.link == Ethdev::Link::up;
    });
}

/// A member without a link stays as long as there is no other: net_bonding would forget what it is made of.
bool Bond::wants_change(const Member& member, bool others_up) const {
    if (!member.device) return is_present(member.name) && Clock::now() >= member.try_at;
    if (member.link == Ethdev::Link::gone) return true;
    if (!member.joined) return member.link == Ethdev::Link::up || !carries_by_link();
    return carries_by_link() && member.link == Ethdev::Link::down && others_up;
}

/// What came in while a member waited is old, and much of it is the node's own, flooded back: addresses would
/// be learned from it where they are not. Nobody else receives from a member that does not carry.
void Bond::discard_waiting(const Member& member) const {
    std::array<rte_mbuf*, kBurst> frames;
    for (std::uint16_t queue = 0; queue < port_.queues; ++queue) {
        for (unsigned seen = 0; seen < kDiscardMost;) {
            const auto count = rte_eth_rx_burst(member.device->id(), queue, frames.data(), kBurst);
            if (count == 0) break;
            rte_pktmbuf_free_bulk(frames.data(), count);
            seen += count;
        }
    }
}

/// The one that carries goes on doing so while it can.
void Bond::change_over() {
    const int now = rte_eth_bond_primary_get(id_);
    const auto up = [](const Member& member) { return member.joined && member.link == Ethdev::Link::up; };
    if (std::any_of(members_.begin(), members_.end(),
                    [&](const Member& member) { return up(member) && member.device->id() == now; }))
        return;
    const auto next = std::find_if(members_.begin(), members_.end(), up);
    if (next == members_.end()) return;
    if (next->device->id() != now) discard_waiting(*next);
    rte_eth_bond_primary_set(id_, next->device->id());
    filter_again();
    spdlog::info("port {}: {} carries now", port_.name, next->name.name);
}

Ethdev::Link Bond::look() {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    // Somebody is at it: the next look tells.
    if (!lock.owns_lock()) return link_.load(std::memory_order_acquire);
    bool up = false;
    for (auto& member : members_) {
        member.link = member.device ? member.device->link() : Ethdev::Link::gone;
        up = up || (member.joined && member.link == Ethdev::Link::up);
    }
    if (!carries_by_link()) change_over();
    needs_tending_.store(std::any_of(members_.begin(), members_.end(),
                                     [&](const Member& m) { return wants_change(m, others_up(m)); }),
                         std::memory_order_release);
    const auto link = up ? Ethdev::Link::up : Ethdev::Link::down;
    link_.store(link, std::memory_order_release);
    return link;
}

// --- coming and going ---

void Bond::tend(const std::function<void()>& wait) {
    const std::scoped_lock lock(mutex_);
    for (auto& member : members_) {
        if (!wants_change(member, others_up(member))) continue;
        try {
            if (!member.device) {
                bring_back(member);
            } else if (member.link == Ethdev::Link::gone) {
                leave(member);
                // Another takes its place before it is waited for.
                if (!carries_by_link()) change_over();
                wait();
                member.device.reset();
                if (member.name.bus == "pci") member.try_at = Clock::now() + kTryEvery;
                spdlog::warn("port {}: {} has gone", port_.name, member.name.name);
            } else if (member.joined) {
                leave(member);
            } else {
                join(member);
            }
        } catch (const Refused& refused) {
            spdlog::debug("port {}: {}", port_.name, refused.what());
        }
    }
    filter_again();
    needs_tending_.store(false, std::memory_order_release);
}

void Bond::bring_back(Member& member) {
    member.try_at = Clock::now() + kTryEvery;
    try {
        plug_in(member);
        join(member);
        member.trouble.clear();
        spdlog::info("port {}: {} is back", port_.name, member.name.name);
    } catch (const Refused& refused) {
        member.device.reset();
        member.trouble = refused.what();
        throw;
    }
}

// --- words ---

std::string Bond::words_of(const Member& member) const {
    const auto& interface = member.name.interface;
    const auto words = interface.empty() ? member.name.name : interface;
    if (!member.device) {
        if (!member.trouble.empty()) return words + " is there and does not start (" + member.trouble + ")";
        return words + " is not there; it joins when it comes";
    }
    if (member.link != Ethdev::Link::up) return words + " no carrier";
    if (mode_ == model::Bonding::active_backup)
        return words + (rte_eth_bond_primary_get(id_) == member.device->id() ? " up, carries" : " up, waits");
    if (mode_ == model::Bonding::balance_xor) return words + " up";
    LacpInfo info{};
    if (!member.joined || lacp_info(id_, member.device->id(), &info) != 0) return words + " up, joining";
    constexpr auto kDefaulted = STATE_DEFAULTED | STATE_EXPIRED;
    if ((info.actor_state & STATE_DISTRIBUTING) != 0)
        return words + " up, aggregated with " + mac_words(info.partner.system);
    if ((info.actor_state & kDefaulted) != 0) return words + " up, hears no LACP from the neighbour";
    return words + " up, LACP under way";
}

std::string Bond::words() const {
    const std::scoped_lock lock(mutex_);
    auto words = "bond " + std::string(model::to_string(mode_));
    for (const auto& member : members_)
        words += (&member == &members_.front() ? ": " : "; ") + words_of(member);
    return words;
}

void Bond::close() {
    const std::scoped_lock lock(mutex_);
    for (auto& member : members_) {
        member.device.reset();
        member.joined = false;
    }
}

}  // namespace viaduct::dataplane
