// What an Ethernet device takes that is not promiscuous: its own address, all groups, and the addresses that
// it is told. A device that has no room for them is not made promiscuous behind anybody's back: where that is
// forbidden (a virtual function, a cloud's card) nothing would come in, and nobody would know why.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "viaduct/address.h"

#include "port/interface_filter.h"

namespace viaduct::dataplane {

/// Whether a device may be given another own address, where it has no room for a second: not a bond's member,
/// whose address the bond sets.
enum class OwnAddress : std::uint8_t { stays, may_change };

/// Main thread, or one that holds the device's lock; in the namespace of its kernel interface.
class DeviceFilter {
public:
    /// `device`: DPDK's number, of one that is configured. `interface`: the kernel interface behind it, 0:
    /// none. `name` is for faults.
    DeviceFilter(std::uint16_t device, unsigned interface, std::string name);
    /// Gives the device back the address that it had. It is still open.
    ~DeviceFilter();
    DeviceFilter(const DeviceFilter&) = delete;
    DeviceFilter& operator=(const DeviceFilter&) = delete;

    /// In place of those before. Also to be said again after somebody else has changed the device. Throws
    /// Refused; those before are in force then.
    void set(const std::vector<MacAddress>& addresses, OwnAddress own);

private:
    bool begin();
    void add(const MacAddress& address, bool become);
    void remove(const MacAddress& address);
    [[nodiscard]] MacAddress own() const;

    const std::uint16_t device_;
    const unsigned kernel_index_;
    const std::string name_;
    std::optional<InterfaceFilter> interface_;
    std::set<MacAddress> added_;
    std::optional<MacAddress> former_;  ///< its own address, before it was given another
};

}  // namespace viaduct::dataplane
