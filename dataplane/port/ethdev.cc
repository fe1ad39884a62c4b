// Everything that is asked of DPDK about a device, and its refusals in words.
#include "port/ethdev.h"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_eth_bond.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_pause.h>
#include <rte_pci.h>
#include <spdlog/spdlog.h>

#include "viaduct/fault.h"

namespace viaduct::dataplane {
namespace {

constexpr std::uint32_t kFraming = 14 + 4;  // Ethernet header and a tag
constexpr std::uint64_t kRssFields = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP;

std::string error_words(int error) {
    return rte_strerror(error < 0 ? -error : error);
}

rte_eth_dev_info info_of(std::uint16_t id) {
    rte_eth_dev_info info{};
    if (const int error = rte_eth_dev_info_get(id, &info); error != 0) {
        throw Refused("device", "says nothing of itself: " + error_words(error));
    }
    return info;
}

/// Flags of a kernel interface (IFF_*); -1 when there is none of this name.
int interface_flags(const std::string& name) {
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    const int any = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const int error = ::ioctl(any, SIOCGIFFLAGS, &request);
    ::close(any);
    return error == 0 ? static_cast<unsigned short>(request.ifr_flags) : -1;
}

void set_up(const std::string& name) {
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    const int any = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (::ioctl(any, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) == 0) {
        request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
        ::ioctl(any, SIOCSIFFLAGS, &request);
    }
    ::close(any);
}

/// Bytes of a frame in one packet buffer.
std::uint32_t frame_room(rte_mempool* pool) {
    return static_cast<std::uint32_t>(rte_pktmbuf_data_room_size(pool)) - RTE_PKTMBUF_HEADROOM;
}

/// What has to be there for a device that does not open.
std::string needs_of(const EthdevName& name) {
    if (name.bus == "pci") return "it must be there and bound to vfio-pci, which \"viaduct uplink add\" does";
    if (name.name.starts_with("net_af_xdp"))
        return "af_xdp needs a kernel with XDP sockets, and an interface with as many channels as queues";
    return "it must be a virtual device of DPDK's with its arguments, such as net_af_packet0,iface=eth1";
}

std::uint16_t find_ethdev(const std::string& device) {
    for (std::uint16_t id = 0; id < RTE_MAX_ETHPORTS; ++id) {
        rte_eth_dev_info info{};
        if (rte_eth_dev_is_valid_port(id) != 0 && rte_eth_dev_info_get(id, &info) == 0 &&
            info.device != nullptr && device == rte_dev_name(info.device)) {
            return id;
        }
    }
    return RTE_MAX_ETHPORTS;
}

}  // namespace

EthdevName parse_ethdev_name(const std::string& device) {
    const auto comma = std::min(device.find(','), device.size());
    EthdevName name{"vdev", device.substr(0, comma), {}, {}};
    if (comma < device.size()) name.arguments = device.substr(comma + 1);
    if (rte_pci_addr address{}; rte_pci_addr_parse(name.name.c_str(), &address) == 0) {
        std::array<char, PCI_PRI_STR_SIZE> text{};
        rte_pci_device_name(&address, text.data(), text.size());
        name.bus = "pci";
        name.name = text.data();
        return name;
    }
    name.interface = model::device_interface("," + name.arguments);
    return name;
}

bool is_present(const EthdevName& name) {
    if (!name.interface.empty()) return ::if_nametoindex(name.interface.c_str()) != 0;
    std::error_code error;
    return name.bus != "pci" || std::filesystem::exists("/sys/bus/pci/devices/" + name.name, error);
}

/// Refuses an MTU that the device or a packet buffer cannot carry.
void Ethdev::check_mtu(std::uint32_t mtu, const rte_eth_dev_info& info, std::uint32_t room) const {
    // What a driver needs round an IP packet, or what ethdev takes it to need.
    const bool knows = info.max_mtu != UINT16_MAX && info.max_rx_pktlen > info.max_mtu;
    const auto framing = knows ? info.max_rx_pktlen - info.max_mtu : kFraming;
    auto most = std::min<std::uint32_t>(info.max_mtu, info.max_rx_pktlen - framing);
    const bool scatters = (info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER) != 0;
    if (!scatters) most = std::min(most, room - kFraming);
    if (mtu <= most) return;
    throw Refused("mtu", "is " + std::to_string(mtu) + "; " + driver_ + " " + name_.name +
                             " carries at most " + std::to_string(most));
}

struct Ethdev::Events {
    static void removed(const char* /*device*/, rte_dev_event_type event, void* self) {
        if (event == RTE_DEV_EVENT_REMOVE)
            static_cast<Ethdev*>(self)->removed_.store(true, std::memory_order_release);
    }
};

/// A card that is pulled out, or unbound from vfio-pci: vfio asks for it and waits until it is let go of.
void Ethdev::watch_removal() {
    watched_ =
        name_.bus == "pci" && rte_dev_event_callback_register(name_.name.c_str(), Events::removed, this) == 0;
}

void Ethdev::unwatch_removal() {
    if (!watched_) return;
    watched_ = false;
    while (rte_dev_event_callback_unregister(name_.name.c_str(), Events::removed, this) == -EAGAIN)
        rte_pause();
}

Ethdev::Ethdev(EthdevName name) : name_(std::move(name)), id_(RTE_MAX_ETHPORTS) {
    try {
        plug_in();
        // Without permission the link is what its owner makes it.
        if (!name_.interface.empty()) set_up(name_.interface);
    } catch (...) {
        close();
        throw;
    }
}

void Ethdev::plug_in() {
    if (rte_eth_dev_count_total() >= RTE_MAX_ETHPORTS) {
        throw Refused("device", "is one more than DPDK has room for: " + std::to_string(RTE_MAX_ETHPORTS) +
                                    " Ethernet devices; remove another uplink");
    }
    if (find_ethdev(name_.name) != RTE_MAX_ETHPORTS) {
        throw Refused("device", name_.name + " is another port's already; a device has one port");
    }
    const auto plug = [&]() -> int {
        if (name_.bus != "bond")
            return rte_eal_hotplug_add(name_.bus.c_str(), name_.name.c_str(), name_.arguments.c_str());
        const auto mode = static_cast<std::uint8_t>(std::stoul(name_.arguments));
        return std::min(0, rte_eth_bond_create(name_.name.c_str(), mode, 0));
    };
    if (const int error = plug(); error != 0) {
        throw Refused("device", name_.name + " cannot be opened: " + error_words(error) + "; " +
                                    needs_of(name_) + "; --dpdk-log-level info says more");
    }
    plugged_ = true;
    id_ = find_ethdev(name_.name);
    if (id_ == RTE_MAX_ETHPORTS) throw Refused("device", name_.name + " is no Ethernet device");
    opened_ = true;
    watch_removal();
    if (!name_.interface.empty()) kernel_index_ = ::if_nametoindex(name_.interface.c_str());
}

/// What of it is used, as DPDK's flags. Without segments in several buffers nothing long could be sent.
std::uint64_t Ethdev::choose_offloads(std::uint64_t capable) {
    constexpr auto kChecksums = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
    constexpr auto kSegments = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    std::uint64_t used = capable & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    offloads_ = 0;
    sums_ip_ = false;
    if ((capable & kChecksums) != kChecksums) return used;
    offloads_ = kOffloadChecksum | kOffloadWrites;
    used |= kChecksums;
    if ((capable & kSegments) == kSegments) {
        offloads_ |= kOffloadTso4 | kOffloadTso6;
        sums_ip_ = (capable & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0;
        used |= kSegments | (capable & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM);
    }
    return used;
}

/// Its driver's name is known from here on.
void Ethdev::check(const model::Port& port, rte_mempool* pool) {
    const auto info = info_of(id_);
    driver_ = info.driver_name != nullptr ? info.driver_name : "unknown driver";
    const auto most = std::min(info.max_rx_queues, info.max_tx_queues);
    if (port.queues > most) {
        throw Refused("queues", "is " + std::to_string(port.queues) + "; " + name_.name + " has " +
                                    std::to_string(most) +
                                    (name_.bus == "vdev" ? ", unless its arguments ask for more" : ""));
    }
    check_mtu(port.mtu, info, frame_room(pool));
}

void Ethdev::start(const model::Port& port, rte_mempool* pool) {
    check(port, pool);
    const auto info = info_of(id_);
    rte_eth_conf conf{};
    conf.rxmode.mtu = port.mtu;
    if (port.mtu + kFraming > frame_room(pool)) conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_SCATTER;
    conf.txmode.offloads = choose_offloads(info.tx_offload_capa);
    if (port.queues > 1 && (info.flow_type_rss_offloads & kRssFields) != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads & kRssFields;
    }
    const auto flags = info.dev_flags != nullptr ? *info.dev_flags : 0;
    conf.intr_conf.lsc = (flags & RTE_ETH_DEV_INTR_LSC) != 0 ? 1 : 0;
    conf.intr_conf.rmv = (flags & RTE_ETH_DEV_INTR_RMV) != 0 ? 1 : 0;
    // Whether a driver can wake a sleeper shows only when it is asked to.
    conf.intr_conf.rxq = name_.bus == "bond" ? 0 : 1;
    int error = start_queues(port.queues, conf, pool);
    if (error != 0 && conf.intr_conf.rxq != 0) {
        conf.intr_conf.rxq = 0;
        error = start_queues(port.queues, conf, pool);
    }
    if (error != 0) throw Refused("device", name_.name + " does not start: " + error_words(error));
    std::string why;
    if (!set_mtu(port.mtu, why)) throw Refused("mtu", why);
    // In mode 802.3ad net_bonding itself keeps back what is not for the bond's first address.
    if (port.uplink.promiscuous || (name_.bus == "bond" && port.uplink.bond == model::Bonding::lacp))
        take_all();
    const int armed = conf.intr_conf.rxq != 0 ? rte_eth_dev_rx_intr_enable(id_, 0) : -ENOTSUP;
    interrupts_ = armed == 0;
    if (interrupts_) rte_eth_dev_rx_intr_disable(id_, 0);
}

/// A bridge forwards what is for other addresses than the device's own, link-local groups included.
void Ethdev::take_all() const {
    const int error = rte_eth_promiscuous_enable(id_);
    if (error == 0) return;
    if (error != -ENOTSUP)
        throw Refused("device", name_.name + " cannot be made promiscuous: " + error_words(error));
    rte_eth_allmulticast_enable(id_);
}

void Ethdev::filter_by(const std::vector<MacAddress>& addresses, OwnAddress own) {
    if (!filter_)
        filter_ = std::make_unique<DeviceFilter>(
            id_, kernel_index_, name_.interface.empty() ? name_.name : "interface " + name_.interface);
    filter_->set(addresses, own);
}

int Ethdev::start_queues(std::uint16_t queues, const rte_eth_conf& conf, rte_mempool* pool) {
    int error = rte_eth_dev_configure(id_, queues, queues, &conf);
    if (error != 0) return error;
    const auto info = info_of(id_);
    std::uint16_t rx_ring = kEthdevRing;
    std::uint16_t tx_ring = kEthdevRing;
    error = rte_eth_dev_adjust_nb_rx_tx_desc(id_, &rx_ring, &tx_ring);
    if (error == 0 && std::max(rx_ring, tx_ring) > kEthdevRing) {
        throw Refused("device", name_.name + " wants rings of at least " +
                                    std::to_string(std::max(rx_ring, tx_ring)) +
                                    " frames; packet buffers are "
                                    "kept for " +
                                    std::to_string(kEthdevRing));
    }
    const auto node = static_cast<unsigned>(rte_eth_dev_socket_id(id_));
    auto rx = info.default_rxconf;
    rx.offloads = conf.rxmode.offloads;
    auto tx = info.default_txconf;
    tx.offloads = conf.txmode.offloads;
    for (std::uint16_t queue = 0; queue < queues && error == 0; ++queue) {
        error = rte_eth_rx_queue_setup(id_, queue, rx_ring, node, &rx, pool);
        if (error == 0) error = rte_eth_tx_queue_setup(id_, queue, tx_ring, node, &tx);
    }
    if (error == 0) error = rte_eth_dev_start(id_);
    return error;
}

bool Ethdev::set_mtu(std::uint32_t mtu, std::string& why) {
    const int error = rte_eth_dev_set_mtu(id_, static_cast<std::uint16_t>(mtu));
    // Some virtual devices carry whatever fits a buffer and have no word for it.
    if (error == 0 || error == -ENOTSUP) return true;
    // Others take it only while they are stopped, as they were when they were configured.
    if (std::uint16_t now = 0; error == -EBUSY && rte_eth_dev_get_mtu(id_, &now) == 0 && now == mtu)
        return true;
    why = "is " + std::to_string(mtu) + ", which " + name_.name + " does not take: " + error_words(error);
    return false;
}

Ethdev::Link Ethdev::link() const {
    if (!name_.interface.empty()) {
        if (::if_nametoindex(name_.interface.c_str()) != kernel_index_) return Link::gone;
        const int flags = interface_flags(name_.interface);
        if (flags < 0) return Link::gone;
        if ((flags & IFF_UP) == 0 || (flags & IFF_RUNNING) == 0) return Link::down;
    }
    if (name_.bus == "pci" && (removed_.load(std::memory_order_acquire) || !is_present(name_)))
        return Link::gone;
    rte_eth_link link{};
    const int error = rte_eth_link_get_nowait(id_, &link);
    if (error == -ENODEV || error == -EIO) return Link::gone;
    // A driver that does not know counts as up.
    return error == 0 && link.link_status == RTE_ETH_LINK_DOWN ? Link::down : Link::up;
}

std::string Ethdev::words() const {
    rte_eth_link link{};
    std::string words = driver_ + " " + name_.name;
    if (!name_.interface.empty()) words += " on interface " + name_.interface;
    if (rte_eth_link_get_nowait(id_, &link) == 0 && link.link_speed != 0 &&
        link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN) {
        words += ", " + std::to_string(link.link_speed) + " Mbit/s";
    }
    if ((offloads_ & kOffloadChecksum) != 0) words += ", does checksums";
    if ((offloads_ & kOffloadTso4) != 0) words += " and TSO";
    if (filter_) words += ", not promiscuous";
    return words;
}

int Ethdev::receive_descriptor(std::uint16_t queue) const {
    return interrupts_ ? rte_eth_dev_rx_intr_ctl_q_get_fd(id_, queue) : -1;
}

void Ethdev::close() {
    unwatch_removal();
    filter_.reset();
    if (opened_) {
        // A kernel interface would stay so.
        rte_eth_promiscuous_disable(id_);
        // A bond's member was started by the bond.
        rte_eth_dev_stop(id_);
        if (const int error = rte_eth_dev_close(id_); error != 0) {
            spdlog::warn("uplink {}: does not close: {}", name_.name, error_words(error));
        }
        opened_ = false;
    }
    if (plugged_) unplug();
}

void Ethdev::unplug() {
    plugged_ = false;
    const int error = name_.bus == "bond" ? rte_eth_bond_free(name_.name.c_str())
                                          : rte_eal_hotplug_remove(name_.bus.c_str(), name_.name.c_str());
    if (error != 0 && error != -ENODEV) {
        spdlog::warn("uplink {}: is not let go of: {}", name_.name, error_words(error));
    }
}

}  // namespace viaduct::dataplane
