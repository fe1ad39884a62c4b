// By driver_override (Documentation/ABI/testing/sysfs-bus-pci): one device is meant, never all of its kind.
#include "node/pci_device.h"

#include <fstream>

#include "node/netns.h"

namespace viaduct::node {

namespace {

/// Base class and sub-class of Ethernet controllers, and of bridges (PCI Code and ID Assignment, 1.3, 1.7).
constexpr std::string_view kEthernetClass = "0x0200";
constexpr std::string_view kBridgeClass = "0x06";

std::filesystem::path device_directory(const HostTree& tree, const std::string& address) {
    return tree.sys / "bus/pci/devices" / address;
}

std::filesystem::path driver_directory(const HostTree& tree, const std::string& driver) {
    return tree.sys / "bus/pci/drivers" / driver;
}

std::string driver_of(const HostTree& tree, const std::string& address) {
    return target_name(device_directory(tree, address) / "driver");
}

bool is_there(const std::filesystem::path& path) {
    std::error_code error;
    return std::filesystem::exists(path, error);
}

std::string without_prefix(const std::string& text) {
    return text.starts_with("0x") ? text.substr(2) : text;
}

/// Those of its group that keep vfio from having the group: bridges may stay with their driver.
std::vector<std::string> neighbours_of(const HostTree& tree, const PciDevice& device) {
    std::vector<std::string> found;
    if (device.group.empty()) return found;
    for (const auto& other : names_in(tree.sys / "kernel/iommu_groups" / device.group / "devices")) {
        const auto driver = driver_of(tree, other);
        if (other == device.address || driver.empty() || driver == kVfio || driver == "pci-stub") continue;
        if (line_of(device_directory(tree, other) / "class").starts_with(kBridgeClass)) continue;
        found.emplace_back(other).append(" (").append(driver).append(")");
    }
    return found;
}

std::string listed(const std::vector<std::string>& all) {
    std::string text;
    for (const auto& one : all)
        text += (text.empty() ? "" : ", ") + one;
    return text;
}

/// Pages of any size that the node has set aside.
bool has_huge_pages(const HostTree& tree) {
    const auto all = tree.sys / "kernel/mm/hugepages";
    for (const auto& size : names_in(all)) {
        const auto count = line_of(all / size / "nr_hugepages");
        if (!count.empty() && count != "0") return true;
    }
    return false;
}

std::string no_iommu(const HostTree& tree) {
    std::string words = "cannot be kept within the dataplane's memory: the node's IOMMU is off (" +
                        (tree.sys / "kernel/iommu_groups").string() +
                        " is empty); switch VT-d or AMD-Vi on in the firmware and write intel_iommu=on (amd: "
                        "iommu=pt) on the "
                        "kernel's command line";
    words +=
        "; unsafe no-IOMMU mode is no way round: it would let the device write anywhere in the node's "
        "memory, "
        "and the dataplane gives devices virtual addresses, which only an IOMMU translates";
    if (line_of(tree.sys / "module/vfio/parameters/enable_unsafe_noiommu_mode") == "Y")
        words += " (that mode is on here)";
    return words;
}

/// What every step of handing over does last: the device is offered to the drivers that may have it.
void probe(const HostTree& tree, const std::string& address) {
    tree.write(tree.sys / "bus/pci/drivers_probe", address);
}

void unbind(const HostTree& tree, const std::string& address) {
    const auto driver = driver_of(tree, address);
    if (!driver.empty()) tree.write(driver_directory(tree, driver) / "unbind", address);
}

/// Throws Error when the device is with another driver afterwards.
void hand_over(const HostTree& tree, const std::string& address, const std::string& driver) {
    const auto override_file = device_directory(tree, address) / "driver_override";
    // "\n" takes the override away: then any driver that knows the device may have it.
    tree.write(override_file, driver == kVfio ? driver : "\n");
    if (driver_of(tree, address) == driver && !driver.empty()) return;
    unbind(tree, address);
    probe(tree, address);
    auto now = driver_of(tree, address);
    if (now != driver && !driver.empty() && driver != kVfio && now.empty()) {
        // It had a driver that does not ask for it by itself.
        tree.write(driver_directory(tree, driver) / "bind", address);
        now = driver_of(tree, address);
    }
    if (now != driver && !driver.empty())
        throw Error("PCI device " + address + " has " + (now.empty() ? "no driver" : "driver " + now) +
                    " after it was offered to " + driver + "; the kernel's log says why");
}

}  // namespace

std::optional<PciDevice> read_pci_device(const HostTree& tree, const std::string& address) {
    const auto directory = device_directory(tree, address);
    if (!is_there(directory)) return std::nullopt;
    PciDevice device;
    device.address = address;
    device.id =
        without_prefix(line_of(directory / "vendor")) + ":" + without_prefix(line_of(directory / "device"));
    device.ethernet = line_of(directory / "class").starts_with(kEthernetClass);
    device.driver = driver_of(tree, address);
    device.interfaces = names_in(directory / "net");
    device.group = target_name(directory / "iommu_group");
    device.neighbours = neighbours_of(tree, device);
    return device;
}

std::vector<std::string> ethernet_devices(const HostTree& tree) {
    std::vector<std::string> found;
    for (const auto& address : names_in(tree.sys / "bus/pci/devices")) {
        if (line_of(device_directory(tree, address) / "class").starts_with(kEthernetClass))
            found.push_back(address);
    }
    return found;
}

std::vector<std::string> obstacles(const HostTree& tree, const PciDevice& device, bool force) {
    std::vector<std::string> found;
    if (!device.ethernet) found.emplace_back("is no Ethernet device, by its PCI class");
    auto up = tree.interfaces();
    for (const auto& interface : device.interfaces) {
        if (force) break;
        const auto what = "is the host's interface " + interface + ", which ";
        const auto uses = uses_of(tree, interface);
        if (!uses.empty()) {
            found.push_back(what + listed(uses) +
                            "; the host would lose it: move that elsewhere first, or say \"force\"");
        } else if (up[interface]) {
            found.push_back(what);
            found.back().append("is up; set it down first (\"ip link set ").append(interface);
            found.back() += " down\"), or say \"force\"";
        }
    }
    if (device.driver == kVfio) return found;
    if (names_in(tree.sys / "kernel/iommu_groups").empty()) {
        found.push_back(no_iommu(tree));
    } else if (device.group.empty()) {
        found.emplace_back(
            "is in no IOMMU group, so nothing keeps it within the dataplane's memory; it cannot "
            "be used");
    } else if (!device.neighbours.empty()) {
        found.push_back("shares IOMMU group " + device.group + " with " + listed(device.neighbours) +
                        ", which vfio-pci would have to have too; unbind those from their drivers, or move "
                        "the card to another slot");
    }
    if (!is_there(driver_directory(tree, kVfio))) tree.load_module(kVfio);
    if (!is_there(driver_directory(tree, kVfio)))
        found.emplace_back(
            "needs the kernel's driver vfio-pci, which is not there: \"modprobe vfio-pci\" "
            "loads it where the kernel has it");
    return found;
}

std::vector<std::string> cautions(const HostTree& tree, const PciDevice& device) {
    std::vector<std::string> said;
    for (const auto& interface : device.interfaces)
        said.emplace_back("the host's interface ")
            .append(interface)
            .append(" goes away until \"viaduct uplink del\"");
    if (!has_huge_pages(tree))
        said.emplace_back(
            "the node has no huge pages: the IOMMU has to know each page of 4,096 bytes, which is "
            "slow, and some drivers refuse; \"configs/huge-pages 512\" sets some aside");
    return said;
}

void bind(const HostTree& tree, const PciDevice& device, const std::string& driver) {
    try {
        hand_over(tree, device.address, driver);
    } catch (const Error& error) {
        std::string words = error.what();
        try {
            give_back(tree, device.address, device.driver);
            words += device.driver.empty() ? "; it has no driver, as before"
                                           : "; it is back with " + device.driver;
        } catch (const Error& back) {
            words += std::string("; and it could not be given back: ") + back.what();
        }
        throw Error(words);
    }
}

void give_back(const HostTree& tree, const std::string& address, const std::string& former) {
    if (!is_there(device_directory(tree, address))) return;
    hand_over(tree, address, former);
}

}  // namespace viaduct::node
