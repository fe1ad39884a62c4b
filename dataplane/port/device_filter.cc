// Drivers of kernel interfaces have no calls for it (net_af_packet) or would change what the host has
// (net_af_xdp): there the kernel is asked.
#include "port/device_filter.h"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ether.h>

#include "viaduct/fault.h"

namespace viaduct::dataplane {
namespace {

rte_ether_addr to_dpdk(const MacAddress& address) {
    rte_ether_addr same{};
    std::copy(address.bytes.begin(), address.bytes.end(), same.addr_bytes);
    return same;
}

std::string error_words(int error) {
    return rte_strerror(error < 0 ? -error : error);
}

}  // namespace

DeviceFilter::DeviceFilter(std::uint16_t device, unsigned interface, std::string name)
    : device_(device), kernel_index_(interface), name_(std::move(name)) {}

DeviceFilter::~DeviceFilter() {
    if (!former_) return;
    auto former = to_dpdk(*former_);
    rte_eth_dev_default_mac_addr_set(device_, &former);
}

MacAddress DeviceFilter::own() const {
    rte_ether_addr now{};
    MacAddress same;
    if (rte_eth_macaddr_get(device_, &now) == 0)
        std::copy(std::begin(now.addr_bytes), std::end(now.addr_bytes), same.bytes.begin());
    return same;
}

/// False: the device has no filter that could be on, and everything comes in.
bool DeviceFilter::begin() {
    int error = rte_eth_promiscuous_disable(device_);
    if (error == -ENOTSUP) return false;
    if (error == 0 && kernel_index_ == 0) error = rte_eth_allmulticast_enable(device_);
    try {
        if (error == 0 && kernel_index_ != 0 && !interface_) interface_.emplace(kernel_index_);
    } catch (const std::system_error& failed) {
        error = failed.code().value();
    }
    if (error == 0) return true;
    throw Refused("promiscuous", "is off, and " + name_ +
                                     " cannot be set to take its own address and all groups: " +
                                     error_words(error) + "; turn it on");
}

void DeviceFilter::set(const std::vector<MacAddress>& addresses, OwnAddress own_address) {
    if (!begin()) return;
    std::set<MacAddress> wanted(addresses.begin(), addresses.end());
    if (former_ && !wanted.contains(own())) {
        auto former = to_dpdk(*former_);
        if (rte_eth_dev_default_mac_addr_set(device_, &former) == 0) former_.reset();
    }
    wanted.erase(own());
    std::vector<MacAddress> done;
    try {
        for (const auto& address : wanted) {
            if (added_.contains(address)) continue;
            add(address, own_address == OwnAddress::may_change && addresses.size() == 1);
            done.push_back(address);
        }
    } catch (const Refused&) {
        for (const auto& address : done)
            remove(address);
        throw;
    }
    wanted.erase(own());
    for (const auto& address : std::exchange(added_, wanted)) {
        if (!wanted.contains(address)) remove(address);
    }
}

/// `become`: the device may take it for its own.
void DeviceFilter::add(const MacAddress& address, bool become) {
    int error = 0;
    if (interface_) {
        try {
            interface_->add(address);
        } catch (const std::system_error& failed) {
            error = failed.code().value();
        }
    } else {
        auto same = to_dpdk(address);
        error = rte_eth_dev_mac_addr_add(device_, &same, 0);
        if (error == -ENOTSUP && become) {
            const auto before = own();
            error = rte_eth_dev_default_mac_addr_set(device_, &same);
            if (error == 0 && !former_) former_ = before;
        }
    }
    if (error == 0) return;
    const auto mine = own().to_string();
    throw Refused("promiscuous", "is off, and " + name_ + " does not take frames for " + address.to_string() +
                                     " beside its own " + mine + ": " + error_words(error) +
                                     "; give the router's interface that address (\"viaduct interface set "
                                     "NAME mac " +
                                     mine + "\"), or turn it on");
}

void DeviceFilter::remove(const MacAddress& address) {
    if (interface_) return interface_->remove(address);
    auto same = to_dpdk(address);
    rte_eth_dev_mac_addr_remove(device_, &same);
}

}  // namespace viaduct::dataplane
