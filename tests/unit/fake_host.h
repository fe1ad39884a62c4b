// A host with PCI devices, as files in a temporary directory, and a kernel that acts on what is written to
// them. There is no card on the machines where tests run: what the kernel does is taken from its
// documentation (Documentation/ABI/testing/sysfs-bus-pci, Documentation/driver-api/vfio.rst).
#pragma once

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "node/host_tree.h"
#include "node/netns.h"
#include "temporary_directory.h"

namespace viaduct::test {

class FakeHost {
public:
    FakeHost() {
        namespace fs = std::filesystem;
        for (const char* directory :
             {"sys/bus/pci/devices", "sys/kernel/iommu_groups", "sys/class/net", "proc/net"})
            fs::create_directories(path(directory));
        put("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512");
        add_driver("igb");
        add_driver("vfio-pci");
    }

    struct Card {
        std::string address = "0000:03:00.0";
        std::string interface = "eth0";  ///< of its driver; empty: the driver makes none
        std::string driver = "igb";      ///< that asks for it; empty: none does
        std::string group = "7";
        std::string type = "0x020000";
        std::string id = "0x1521";
    };
    void add_card(const Card& card) {
        namespace fs = std::filesystem;
        const auto device = "sys/bus/pci/devices/" + card.address;
        put(device + "/vendor", "0x8086");
        put(device + "/device", card.id);
        put(device + "/class", card.type);
        put(device + "/driver_override", "(null)");
        if (!card.group.empty()) {
            const auto group = path("sys/kernel/iommu_groups/" + card.group);
            fs::create_directories(group + "/devices");
            fs::create_directory_symlink(path(device), group + "/devices/" + card.address);
            fs::create_directory_symlink(group, path(device) + "/iommu_group");
        }
        cards_[card.address] = card;
        if (!card.driver.empty()) attach(card.address, card.driver);
    }
    void remove_card(const std::string& address) {
        detach(address);
        std::filesystem::remove_all(path("sys/bus/pci/devices/" + address));
        const auto group = cards_[address].group;
        if (!group.empty())
            std::filesystem::remove(path("sys/kernel/iommu_groups/" + group + "/devices/" + address));
        cards_.erase(address);
    }
    void add_interface(const std::string& name, bool up = true) {
        put("sys/class/net/" + name + "/flags", up ? "0x1003" : "0x1002");
    }
    void add_driver(const std::string& name) {
        std::filesystem::create_directories(path("sys/bus/pci/drivers/" + name));
    }
    void remove_driver(const std::string& name) {
        std::filesystem::remove_all(path("sys/bus/pci/drivers/" + name));
    }
    void put(const std::string& file, const std::string& text) {
        std::filesystem::create_directories(std::filesystem::path(path(file)).parent_path());
        std::ofstream(path(file)) << text << "\n";
    }
    [[nodiscard]] std::string path(const std::string& name) const { return directory_.file(name); }
    [[nodiscard]] std::string driver_of(const std::string& address) const {
        return node::target_name(path("sys/bus/pci/devices/" + address + "/driver"));
    }
    [[nodiscard]] std::string override_of(const std::string& address) const {
        return node::line_of(path("sys/bus/pci/devices/" + address + "/driver_override"));
    }

    [[nodiscard]] node::HostTree tree() {
        node::HostTree tree;
        tree.sys = path("sys");
        tree.proc = path("proc");
        tree.write = [this](const auto& file, const auto& word) { take(file, word); };
        tree.interfaces = [this] {
            std::map<std::string, bool> found;
            for (const auto& name : node::names_in(path("sys/class/net")))
                found[name] = node::line_of(path("sys/class/net/" + name + "/flags")) == "0x1003";
            return found;
        };
        tree.addresses = [this](const std::string& interface) { return addresses[interface]; };
        tree.load_module = [this](const std::string& module) {
            if (loadable.contains(module)) add_driver(module);
        };
        return tree;
    }

    std::map<std::string, std::vector<std::string>> addresses;
    std::set<std::string> loadable;             ///< modules that the kernel has
    std::set<std::string> refusing;             ///< drivers that do not take a device when they probe it
    std::set<std::string> shy;                  ///< drivers that do not ask for a device by themselves
    std::set<std::string> unwritable;           ///< last parts of files that give EBUSY
    std::function<void(std::size_t)> at_write;  ///< before each write, with how many there were
    std::vector<std::string> written;           ///< "unbind 0000:03:00.0"

private:
    void attach(const std::string& address, const std::string& driver) {
        const auto device = path("sys/bus/pci/devices/" + address);
        std::filesystem::create_directory_symlink(path("sys/bus/pci/drivers/" + driver), device + "/driver");
        const auto& interface = cards_[address].interface;
        if (driver == "vfio-pci" || interface.empty()) return;
        std::filesystem::create_directories(device + "/net/" + interface);
        add_interface(interface, false);
        std::filesystem::create_directory_symlink(device, path("sys/class/net/" + interface + "/device"));
    }
    void detach(const std::string& address) {
        const auto device = path("sys/bus/pci/devices/" + address);
        std::filesystem::remove(device + "/driver");
        std::filesystem::remove_all(device + "/net");
        if (!cards_[address].interface.empty())
            std::filesystem::remove_all(path("sys/class/net/" + cards_[address].interface));
    }
    void probe(const std::string& address) {
        if (!driver_of(address).empty()) return;
        const auto forced = override_of(address);
        const bool any = forced.empty() || forced == "(null)";
        const auto driver = any ? cards_[address].driver : forced;
        if (driver.empty() || refusing.contains(driver) || (any && shy.contains(driver))) return;
        if (!std::filesystem::exists(path("sys/bus/pci/drivers/" + driver))) return;
        attach(address, driver);
    }
    void take(const std::filesystem::path& file, const std::string& word) {
        if (at_write) at_write(written.size());
        const auto name = file.filename().string();
        written.push_back(name + " " + (word == "\n" ? "-" : word));
        if (unwritable.contains(name)) throw node::Error(file.string() + ": Device or resource busy");
        if (name == "driver_override") {
            std::ofstream(file) << (word == "\n" ? "(null)" : word) << "\n";
        } else if (name == "drivers_probe") {
            probe(word);
        } else if (name == "unbind" && driver_of(word) == file.parent_path().filename()) {
            detach(word);
        } else if (name == "bind" && driver_of(word).empty() &&
                   !refusing.contains(file.parent_path().filename())) {
            attach(word, file.parent_path().filename());
        } else {
            throw node::Error(file.string() + ": No such device");
        }
    }

    TemporaryDirectory directory_;
    std::map<std::string, Card> cards_;
};

}  // namespace viaduct::test
