// What a person calls a device, what keeps it from being used, and how a PCI device changes hands, on a host
// of files (fake_host.h): no machine here has a card.
#include <gtest/gtest.h>

#include "viaduct/fault.h"

#include "fake_host.h"
#include "node/pci_device.h"
#include "uplink/devices.h"

namespace viaduct::uplink {
namespace {

constexpr const char* kAddress = "0000:03:00.0";

class Devices : public testing::Test {
protected:
    std::string refusal(const std::string& source, Driver driver = Driver::automatic, bool force = false) {
        try {
            const auto found = find_device(tree, source, driver, 1, force, "uplink");
            return "is taken as " + found.words;
        } catch (const Refused& refused) {
            std::string text;
            for (const auto& fault : refused.faults())
                text += fault.where + " " + fault.reason + "\n";
            return text;
        }
    }
    Device find(const std::string& source, Driver driver = Driver::automatic, std::uint16_t queues = 1) {
        return find_device(tree, source, driver, queues, false, "uplink");
    }
    static bool has(const std::string& text, const std::string& part) {
        return text.find(part) != std::string::npos;
    }

    test::FakeHost host;
    node::HostTree tree = host.tree();
};

TEST_F(Devices, AnInterfaceIsDrivenByAPacketSocket) {
    host.add_interface("eth5");
    const auto one = find("eth5");
    EXPECT_EQ(one.words, "net_af_packet_eth5,iface=eth5");
    EXPECT_EQ(one.name, "eth5");
    EXPECT_TRUE(one.notes.empty());
    EXPECT_EQ(find("eth5", Driver::af_packet, 4).words, "net_af_packet_eth5,iface=eth5,qpairs=4");
    host.addresses["eth5"] = {"192.0.2.1/24"};
    ASSERT_EQ(find("eth5").notes.size(), 1U);
    EXPECT_TRUE(has(find("eth5").notes[0], "192.0.2.1/24")) << find("eth5").notes[0];
}

TEST_F(Devices, XdpTakesTheHostsFramesAndSaysWhatItNeeds) {
    host.add_interface("eth5");
    const auto one = find("eth5", Driver::af_xdp, 2);
    EXPECT_EQ(one.words, "net_af_xdp_eth5,iface=eth5,queue_count=2");
    ASSERT_EQ(one.notes.size(), 1U);
    EXPECT_TRUE(has(one.notes[0], "CONFIG_XDP_SOCKETS")) << one.notes[0];
    host.addresses["eth5"] = {"192.0.2.1/24"};
    EXPECT_TRUE(has(refusal("eth5", Driver::af_xdp), "has 192.0.2.1/24, and af_xdp takes all"));
    EXPECT_TRUE(has(refusal("eth5", Driver::af_xdp, true), "is taken as"));
}

TEST_F(Devices, SaysWhichThereAre) {
    host.add_interface("lo");
    host.add_interface("eth5");
    host.add_interface("eth6");
    const auto words = refusal("eth9");
    EXPECT_TRUE(has(words, "uplink eth9 is no interface of this node (eth5, eth6), no PCI address")) << words;
    EXPECT_TRUE(has(refusal("0000:09:00.0"), "which has no Ethernet devices on PCI"));
    host.add_card({});
    EXPECT_TRUE(has(refusal("0000:09:00.0"), "its Ethernet devices are 0000:03:00.0"));
    EXPECT_TRUE(has(refusal("lo"), "loopback"));
    host.add_interface("a,b");
    EXPECT_TRUE(has(refusal("a,b"), "','"));
    for (const char* bad : {"", ".", "..", "../../etc", "eth 5", "0000:03:00.8", "0000:03:00", "x:y:z.0"})
        EXPECT_TRUE(has(refusal(bad), "is no interface")) << bad << ": " << refusal(bad);
}

TEST_F(Devices, VirtualDevicesAreTakenAsTheyAre) {
    const auto one = find("net_pcap0,rx_pcap=/a,tx_pcap=/b");
    EXPECT_EQ(one.words, "net_pcap0,rx_pcap=/a,tx_pcap=/b");
    EXPECT_EQ(one.name, "net_pcap0");
    EXPECT_TRUE(has(refusal("net_pcap0", Driver::af_xdp), "its own driver"));
}

TEST_F(Devices, APciDeviceThatIsFreeIsTaken) {
    host.add_card({});
    const auto one = find("03:00.0");
    EXPECT_EQ(one.words, kAddress);
    EXPECT_EQ(one.name, "eth0");
    ASSERT_TRUE(one.pci);
    EXPECT_EQ(one.pci->id, "8086:1521");
    EXPECT_EQ(one.pci->driver, "igb");
    EXPECT_EQ(one.pci->group, "7");
    ASSERT_EQ(one.notes.size(), 1U);
    EXPECT_TRUE(has(one.notes[0], "interface eth0 goes away"));
    EXPECT_EQ(find("0000:03:00.0,rx_queues=2").words, "0000:03:00.0,rx_queues=2");
    EXPECT_EQ(find("eth0", Driver::vfio_pci).words, kAddress);
    EXPECT_EQ(find("eth0").words, "net_af_packet_eth0,iface=eth0");
    EXPECT_TRUE(has(refusal(kAddress, Driver::af_packet), "is a PCI address"));
    host.add_interface("veth0");
    EXPECT_TRUE(has(refusal("veth0", Driver::vfio_pci), "is no PCI device's interface"));
    host.put("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0");
    EXPECT_TRUE(has(find(kAddress).notes.at(1), "no huge pages"));
    EXPECT_TRUE(host.written.empty());
}

TEST_F(Devices, WhatTheHostUsesIsRefusedByName) {
    host.add_card({});
    host.put("sys/class/net/eth0/flags", "0x1003");
    EXPECT_TRUE(has(refusal(kAddress), "the host's interface eth0, which is up")) << refusal(kAddress);
    host.addresses["eth0"] = {"192.0.2.1/24", "2001:db8::1/64"};
    EXPECT_TRUE(has(refusal(kAddress), "eth0, which has 192.0.2.1/24, 2001:db8::1/64;")) << refusal(kAddress);
    host.put("proc/net/route",
             "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
             "eth1 00000000 0102A8C0 0003 0 0 0 00000000 0 0 0\n"
             "eth0 00000000 0102A8C0 0003 0 0 0 00000000 0 0 0");
    EXPECT_TRUE(has(refusal(kAddress), "carries a default route")) << refusal(kAddress);
    host.addresses.clear();
    host.put("proc/net/route", "eth0 0002A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0");
    EXPECT_FALSE(has(refusal(kAddress), "default route")) << refusal(kAddress);
    host.put("proc/net/ipv6_route",
             "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
             "fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0");
    EXPECT_TRUE(has(refusal(kAddress), "carries a default route")) << refusal(kAddress);
    EXPECT_TRUE(has(refusal(kAddress, Driver::automatic, true), "is taken as")) << refusal(kAddress);
    EXPECT_TRUE(host.written.empty());
}

TEST_F(Devices, SaysWhatAnIommuIsFor) {
    host.add_card({.group = ""});
    const auto off = refusal(kAddress, Driver::automatic, true);
    EXPECT_TRUE(has(off, "the node's IOMMU is off")) << off;
    EXPECT_TRUE(has(off, "intel_iommu=on")) << off;
    EXPECT_TRUE(has(off, "unsafe no-IOMMU mode is no way round")) << off;
    EXPECT_FALSE(has(off, "that mode is on here")) << off;
    host.put("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y");
    EXPECT_TRUE(has(refusal(kAddress), "that mode is on here"));
    host.add_card({.address = "0000:04:00.0", .interface = "eth1"});
    EXPECT_TRUE(has(refusal(kAddress), "is in no IOMMU group")) << refusal(kAddress);
}

TEST_F(Devices, NamesTheOthersOfItsGroup) {
    host.add_card({});
    host.add_driver("pcieport");
    host.add_card({.address = "0000:00:01.0", .interface = "", .driver = "pcieport", .type = "0x060400"});
    host.add_card({.address = "0000:03:00.2", .interface = "", .driver = ""});
    EXPECT_TRUE(has(refusal(kAddress), "is taken as")) << refusal(kAddress);
    host.add_card({.address = "0000:03:00.1", .interface = "eth1"});
    EXPECT_TRUE(
        has(refusal(kAddress, Driver::automatic, true), "shares IOMMU group 7 with 0000:03:00.1 (igb)"))
        << refusal(kAddress);
}

TEST_F(Devices, LoadsVfioOrSaysThatItIsMissing) {
    host.add_card({});
    host.remove_driver("vfio-pci");
    EXPECT_TRUE(has(refusal(kAddress), "modprobe vfio-pci")) << refusal(kAddress);
    host.loadable.insert("vfio-pci");
    EXPECT_TRUE(has(refusal(kAddress), "is taken as")) << refusal(kAddress);
}

TEST_F(Devices, OnlyEthernet) {
    host.add_card({.type = "0x010802"});
    EXPECT_TRUE(has(refusal(kAddress, Driver::automatic, true), "is no Ethernet device"));
}

class Binding : public Devices {
protected:
    /// What the kernel's refusal is told as.
    std::string failure() {
        try {
            node::bind(tree, *node::read_pci_device(tree, kAddress), node::kVfio);
            return {};
        } catch (const node::Error& error) {
            return error.what();
        }
    }
};

TEST_F(Binding, GoesByOverrideAndBack) {
    host.add_card({});
    EXPECT_EQ(failure(), "");
    EXPECT_EQ(host.driver_of(kAddress), "vfio-pci");
    EXPECT_EQ(host.written, (std::vector<std::string>{"driver_override vfio-pci", "unbind 0000:03:00.0",
                                                      "drivers_probe 0000:03:00.0"}));
    node::give_back(tree, kAddress, "igb");
    EXPECT_EQ(host.driver_of(kAddress), "igb");
    EXPECT_EQ(host.override_of(kAddress), "(null)");
    // A second time there is nothing to do.
    node::give_back(tree, kAddress, "igb");
    EXPECT_EQ(host.driver_of(kAddress), "igb");
}

TEST_F(Binding, OfOneWithoutADriver) {
    host.add_card({.driver = ""});
    EXPECT_EQ(failure(), "");
    EXPECT_EQ(host.driver_of(kAddress), "vfio-pci");
    node::give_back(tree, kAddress, "");
    EXPECT_EQ(host.driver_of(kAddress), "");
}

TEST_F(Binding, ToADriverThatHasToBeAsked) {
    host.add_card({});
    host.shy.insert("igb");
    EXPECT_EQ(failure(), "");
    node::give_back(tree, kAddress, "igb");
    EXPECT_EQ(host.driver_of(kAddress), "igb");
}

TEST_F(Binding, IsUndoneWhenVfioDoesNotTakeIt) {
    host.add_card({});
    host.refusing.insert("vfio-pci");
    const auto words = failure();
    EXPECT_TRUE(has(words, "has no driver after it was offered to vfio-pci")) << words;
    EXPECT_TRUE(has(words, "it is back with igb")) << words;
    EXPECT_EQ(host.driver_of(kAddress), "igb");
    EXPECT_EQ(host.override_of(kAddress), "(null)");
}

TEST_F(Binding, IsUndoneAtEachStepThatFails) {
    for (const char* file : {"driver_override", "unbind", "drivers_probe"}) {
        test::FakeHost other;
        other.add_card({});
        other.unwritable.insert(file);
        const auto there = other.tree();
        try {
            node::bind(there, *node::read_pci_device(there, kAddress), node::kVfio);
            ADD_FAILURE() << file;
        } catch (const node::Error& error) {
            EXPECT_TRUE(has(error.what(), "Device or resource busy")) << error.what();
            // What cannot be undone either is said.
            const bool stuck = std::string(file) != "unbind";
            EXPECT_EQ(has(error.what(), "could not be given back"), stuck) << error.what();
        }
        if (std::string(file) != "drivers_probe") {
            EXPECT_EQ(other.driver_of(kAddress), "igb") << file;
        }
    }
}

TEST_F(Binding, SaysWhenTheFormerDriverDoesNotTakeItBack) {
    host.add_card({});
    EXPECT_EQ(failure(), "");
    host.refusing.insert("igb");
    EXPECT_THROW(node::give_back(tree, kAddress, "igb"), node::Error);
    host.refusing.clear();
    node::give_back(tree, kAddress, "igb");
    EXPECT_EQ(host.driver_of(kAddress), "igb");
    host.remove_card(kAddress);
    node::give_back(tree, kAddress, "igb");
}

}  // namespace
}  // namespace viaduct::uplink
