#include "uplink/devices.h"

#include <algorithm>

#include "viaduct/fault.h"
#include "viaduct/model.h"

namespace viaduct::uplink {

namespace {

constexpr std::size_t kMostNamed = 12;

std::string listed(const std::vector<std::string>& all) {
    std::string text;
    for (std::size_t i = 0; i < std::min(all.size(), kMostNamed); ++i)
        text.append(text.empty() ? "" : ", ").append(all[i]);
    if (all.size() > kMostNamed) text += " and " + std::to_string(all.size() - kMostNamed) + " more";
    return text;
}

[[noreturn]] void refuse(const std::string& where, const std::string& source,
                         const std::vector<std::string>& reasons) {
    Faults faults;
    for (const auto& reason : reasons)
        faults.push_back({where, std::string(source).append(" ").append(reason)});
    throw Refused(faults);
}

/// A port's name has fewer characters than an interface's may have, and an address has others.
std::string port_name(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](char c) { return !model::is_name(std::string("a") + c); }, '-');
    return model::is_name(text) ? text : "uplink-" + text;
}

Device on_pci(const node::HostTree& tree, const std::string& address, const std::string& source, bool force,
              const std::string& where) {
    const auto device = node::read_pci_device(tree, address);
    if (!device) {
        const auto others = node::ethernet_devices(tree);
        refuse(
            where, source,
            {others.empty() ? "is no PCI device of this node, which has no Ethernet devices on PCI"
                            : "is no PCI device of this node; its Ethernet devices are " + listed(others)});
    }
    const auto against = node::obstacles(tree, *device, force);
    if (!against.empty()) refuse(where, source, against);
    Device found;
    found.words = address;
    found.name = device->interfaces.empty() ? "pci-" + address : device->interfaces.front();
    found.name = port_name(found.name);
    if (device->driver != node::kVfio) found.notes = node::cautions(tree, *device);
    found.pci = *device;
    return found;
}

Device on_packet_socket(const node::HostTree& tree, const std::string& interface, std::uint16_t queues) {
    Device found;
    found.name = port_name(interface);
    found.words = "net_af_packet_" + interface + ",iface=" + interface;
    if (queues > 1) found.words += ",qpairs=" + std::to_string(queues);
    const auto uses = node::uses_of(tree, interface);
    if (!uses.empty())
        found.notes.push_back("interface " + interface + " " + listed(uses) +
                              ": af_packet copies its frames, so the host goes on answering for that beside "
                              "Viaduct");
    return found;
}

Device on_xdp(const node::HostTree& tree, const std::string& interface, std::uint16_t queues, bool force,
              const std::string& where) {
    const auto uses = node::uses_of(tree, interface);
    if (!uses.empty() && !force)
        refuse(
            where, interface,
            {listed(uses) + ", and af_xdp takes all its frames from the host; move that elsewhere first, say "
                            "\"force\", or use \"driver af_packet\", which shares it"});
    Device found;
    found.name = port_name(interface);
    found.words = "net_af_xdp_" + interface + ",iface=" + interface;
    if (queues > 1) found.words += ",queue_count=" + std::to_string(queues);
    found.notes.push_back(
        "af_xdp needs a kernel with XDP sockets (CONFIG_XDP_SOCKETS), a dataplane that runs as "
        "root, and on " +
        interface + " as many channels as queues (\"ethtool -L " + interface +
        " combined N\"); what arrives on other channels stays with the host");
    return found;
}

/// The PCI device that an interface is of.
std::string pci_of(const node::HostTree& tree, const std::string& interface, const std::string& where) {
    const auto name = node::target_name(tree.sys / "class/net" / interface / "device");
    const auto address = model::parse_pci_address(name);
    if (!address)
        refuse(where, interface,
               {"is no PCI device's interface, so vfio-pci cannot have it; use \"driver af_packet\""});
    return *address;
}

Device on_interface(const node::HostTree& tree, const std::string& interface, Driver driver,
                    std::uint16_t queues, bool force, const std::string& where) {
    if (interface.find_first_of(",=") != std::string::npos)
        refuse(where, interface,
               {"has a ',' or '=' in its name, which DPDK's arguments cannot hold; rename it with \"ip link "
                "set\""});
    if (interface == "lo") refuse(where, interface, {"is the loopback interface, which leads nowhere"});
    switch (driver) {
        case Driver::vfio_pci:
            return on_pci(tree, pci_of(tree, interface, where), interface, force, where);
        case Driver::af_xdp:
            return on_xdp(tree, interface, queues, force, where);
        case Driver::automatic:
        case Driver::af_packet:
            break;
    }
    return on_packet_socket(tree, interface, queues);
}

}  // namespace

Device find_device(const node::HostTree& tree, const std::string& source, Driver driver, std::uint16_t queues,
                   bool force, const std::string& where) {
    if (tree.interfaces().contains(source)) return on_interface(tree, source, driver, queues, force, where);
    if (const auto address = model::parse_pci_address(source)) {
        if (driver != Driver::automatic && driver != Driver::vfio_pci)
            refuse(where, source,
                   {"is a PCI address, which is for vfio-pci; af_packet and af_xdp take the name "
                    "of its interface"});
        auto device = on_pci(tree, *address, source, force, where);
        // What follows the address is for its driver.
        if (const auto comma = source.find(','); comma != std::string::npos)
            device.words += source.substr(comma);
        return device;
    }
    if (source.starts_with("net_")) {
        if (driver != Driver::automatic)
            refuse(where, source,
                   {"is a virtual device of DPDK's, which is its own driver; leave \"driver\" out"});
        return {source, port_name(source.substr(0, source.find(','))), {}, {}};
    }
    std::vector<std::string> all;
    for (const auto& [name, up] : tree.interfaces()) {
        if (name != "lo") all.push_back(name);
    }
    refuse(where, source,
           {"is no interface of this node (" + (all.empty() ? std::string("it has none") : listed(all)) +
            "), no PCI address such as 0000:03:00.0, and no virtual device of DPDK's such as "
            "net_pcap0,iface=eth1"});
}

}  // namespace viaduct::uplink
