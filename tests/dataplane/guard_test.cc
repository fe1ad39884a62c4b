// What a port with a guard may send, and what it may not, through the real worker loop: each frame as a pod
// would forge it.
#include <gtest/gtest.h>

#include "router.h"

namespace viaduct::test {
namespace {

const char* const kOther = "02:00:00:00:01:77";

void put16(Bytes& b, std::size_t at, unsigned value) {
    b[at] = static_cast<std::uint8_t>(value >> 8);
    b[at + 1] = static_cast<std::uint8_t>(value);
}
void put(Bytes& b, std::size_t at, const Bytes& what) {
    std::copy(what.begin(), what.end(), b.begin() + static_cast<std::ptrdiff_t>(at));
}
Bytes mac(const char* text) {
    const auto m = MacAddress::parse(text).value();
    return {m.bytes.begin(), m.bytes.end()};
}
Bytes address(const char* text) {
    const auto a = ip(text);
    return {a.bytes().begin(), a.bytes().end()};
}

Bytes arp(const char* from, const char* sender_mac, const char* sender, const char* target = "10.0.0.9") {
    Bytes b(60);
    put(b, 0, Bytes(6, 0xff));
    put(b, 6, mac(from));
    put(b, 12, {8, 6, 0, 1, 8, 0, 6, 4, 0, 1});
    put(b, 22, mac(sender_mac));
    put(b, 28, address(sender));
    put(b, 38, address(target));
    return b;
}

/// An ICMPv6 message after `extensions` (each 8 bytes of zeros but the next header and, for a fragment, its
/// place).
Bytes icmp6(const char* source, Bytes message, const std::vector<std::uint8_t>& extensions = {},
            unsigned fragment = 1) {
    Bytes b(54);
    put(b, 0, mac("33:33:00:00:00:01"));
    put(b, 6, mac(kPod));
    put(b, 12, {0x86, 0xdd, 0x60});
    b[20] = extensions.empty() ? 58 : extensions[0];
    b[21] = 255;
    put(b, 22, address(source));
    put(b, 38, address("ff02::1"));
    for (std::size_t i = 0; i < extensions.size(); ++i) {
        Bytes extension(8);
        extension[0] = i + 1 < extensions.size() ? extensions[i + 1] : 58;
        if (extensions[i] == 44) put16(extension, 2, fragment);
        b.insert(b.end(), extension.begin(), extension.end());
    }
    b.insert(b.end(), message.begin(), message.end());
    put16(b, 18, static_cast<unsigned>(b.size() - 54));
    return b;
}
Bytes advertisement(const char* target, const char* link_layer) {
    Bytes m(32);
    m[0] = 136;
    put(m, 8, address(target));
    put(m, 24, {2, 1});
    put(m, 26, mac(link_layer));
    return m;
}
Bytes solicitation(const char* link_layer) {
    auto m = advertisement("fd00::3", link_layer);
    m[0] = 135;
    m[24] = 1;
    return m;
}

class GuardTest : public RouterTest {
protected:
    GuardTest() {
        change.put.ports["pod"].guard =
            model::Guard{{MacAddress::parse(kPod).value()},
                         {Prefix::parse("10.0.0.2/32").value(), Prefix::parse("fd00::2/128").value()}};
        apply();
        bench.settle();
    }
    /// By which name a frame of the pod's is dropped; empty: it is not, as far as the guard goes.
    std::string refused(const Bytes& frame) {
        using dataplane::Drop;
        std::map<Drop, std::uint64_t> before;
        const auto names = {Drop::spoofed_mac,  Drop::spoofed_address, Drop::spoofed_neighbour,
                            Drop::rogue_server, Drop::bad_vlan,        Drop::runt};
        for (const auto name : names)
            before[name] = bench.drops("pod", name);
        bench.inject("pod", frame);
        bench.settle();
        for (const auto name : names) {
            if (bench.drops("pod", name) != before[name]) return std::string(dataplane::reason(name).name);
        }
        return {};
    }
    static Bytes udp(const char* source, const char* from = kPod, std::uint16_t source_port = 4000,
                     std::uint16_t destination_port = 5000) {
        const bool v4 = ip(source).is_v4();
        PacketSpec spec{.source = source, .destination = v4 ? "10.0.0.3" : "fd00::3"};
        spec.source_port = source_port;
        spec.destination_port = destination_port;
        return routed(spec, kPeer, from);
    }
    void TearDown() override {}  // drops are what is tested
};

TEST_F(GuardTest, OwnAddressesPass) {
    EXPECT_EQ(refused(udp("10.0.0.2")), "");
    EXPECT_EQ(refused(udp("fd00::2")), "");
    EXPECT_EQ(refused(udp("fe80::ff:fe00:102")), "") << "what the MAC address makes";
    EXPECT_EQ(refused(arp(kPod, kPod, "10.0.0.2")), "");
    EXPECT_EQ(refused(arp(kPod, kPod, "0.0.0.0", "10.0.0.2")), "") << "a probe";
    EXPECT_EQ(refused(icmp6("fd00::2", advertisement("fd00::2", kPod))), "");
    EXPECT_EQ(refused(icmp6("fd00::2", solicitation(kPod))), "");
    EXPECT_EQ(
        refused(icmp6("::", {135, 0, 0, 0, 0, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2})),
        "")
        << "duplicate detection";
    EXPECT_EQ(refused(icmp6("::", {143, 0, 0, 0, 0, 0, 0, 1}, {0})), "") << "a listener's report";
    EXPECT_EQ(refused(udp("0.0.0.0", kPod, 68, 67)), "") << "asking for an address";
    EXPECT_EQ(refused(frame({.source = kPod, .ethertype = 0x88b5})), "") << "nothing of IP";
    EXPECT_EQ(bench.collect("peer").size(), 11U);
}

TEST_F(GuardTest, OthersDoNot) {
    EXPECT_EQ(refused(udp("10.0.0.2", kOther)), "spoofed_mac");
    EXPECT_EQ(refused(udp("10.0.0.3")), "spoofed_address");
    EXPECT_EQ(refused(udp("10.0.0.1")), "spoofed_address") << "the gateway's";
    EXPECT_EQ(refused(udp("0.0.0.0")), "spoofed_address");
    EXPECT_EQ(refused(udp("fd00::3")), "spoofed_address");
    EXPECT_EQ(refused(udp("fe80::1")), "spoofed_address");
    EXPECT_EQ(refused(udp("::")), "spoofed_address");
    EXPECT_EQ(refused(arp(kPod, kPod, "10.0.0.1")), "spoofed_neighbour");
    EXPECT_EQ(refused(arp(kPod, kOther, "10.0.0.2")), "spoofed_neighbour");
    EXPECT_EQ(refused(arp(kPod, kPod, "0.0.0.0", "10.0.0.3")), "spoofed_neighbour")
        << "a probe for another's";
    auto probe = solicitation(kPod);
    probe.resize(24);
    EXPECT_EQ(refused(icmp6("::", probe)), "spoofed_neighbour") << "duplicate detection of another's";
    auto odd = arp(kPod, kPod, "10.0.0.1");
    odd[15] = 6;
    EXPECT_EQ(refused(odd), "spoofed_neighbour") << "a hardware type that a careless host takes for Ethernet";
    EXPECT_EQ(refused(icmp6("fd00::2", advertisement("fd00::1", kPod))), "spoofed_neighbour");
    EXPECT_EQ(refused(icmp6("fd00::2", advertisement("fd00::2", kOther))), "spoofed_neighbour");
    EXPECT_EQ(refused(icmp6("fd00::2", solicitation(kOther))), "spoofed_neighbour");
    EXPECT_EQ(refused(icmp6("fd00::3", advertisement("fd00::2", kPod))), "spoofed_address");
    EXPECT_EQ(bench.collect("peer").size(), 0U);
}

TEST_F(GuardTest, NothingHidesBehindHeaders) {
    const auto bad = advertisement("fd00::1", kPod);
    EXPECT_EQ(refused(icmp6("fd00::2", bad, {0})), "spoofed_neighbour");
    EXPECT_EQ(refused(icmp6("fd00::2", bad, {0, 60, 60})), "spoofed_neighbour");
    EXPECT_EQ(refused(icmp6("fd00::2", bad, {44})), "spoofed_neighbour");
    EXPECT_EQ(refused(icmp6("fd00::2", advertisement("fd00::2", kPod), {44})), "spoofed_neighbour")
        << "RFC 6980";
    EXPECT_EQ(refused(icmp6("fd00::2", {136}, {44})), "spoofed_neighbour") << "cut before what is to be seen";
    EXPECT_EQ(refused(icmp6("fd00::2", bad, std::vector<std::uint8_t>(9, 60))), "spoofed_neighbour");
    EXPECT_EQ(refused(icmp6("fd00::2", {134, 0}, {60})), "spoofed_neighbour") << "the rest is elsewhere";
    auto snap = arp(kPod, kPod, "10.0.0.1");
    put(snap, 12, {0, 36});
    snap.insert(snap.begin() + 14, {0xaa, 0xaa, 3, 0, 0, 0, 8, 6});
    EXPECT_EQ(refused(snap), "spoofed_neighbour") << "RFC 1042";
    auto endless = bad;
    endless[25] = 0;
    EXPECT_EQ(refused(icmp6("fd00::2", endless)), "spoofed_neighbour");
    auto tagged = arp(kPod, kPod, "10.0.0.1");
    tagged.insert(tagged.begin() + 12, {0x81, 0, 0, 5});
    EXPECT_EQ(refused(tagged), "spoofed_neighbour");
    for (int i = 0; i < 2; ++i)
        tagged.insert(tagged.begin() + 12, {0x81, 0, 0, 5});
    EXPECT_EQ(refused(tagged), "bad_vlan");
    EXPECT_EQ(bench.collect("peer").size(), 0U);
}

TEST_F(GuardTest, ServersAndRoutersAreElsewhere) {
    EXPECT_EQ(refused(udp("10.0.0.2", kPod, 67, 68)), "rogue_server");
    EXPECT_EQ(refused(udp("fd00::2", kPod, 547, 546)), "rogue_server");
    EXPECT_EQ(refused(udp("10.0.0.2", kPod, 9999, 68)), "rogue_server");
    EXPECT_EQ(refused(udp("fd00::2", kPod, 9999, 546)), "rogue_server");
    EXPECT_EQ(refused(icmp6("fd00::2", {134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0})), "rogue_server");
    EXPECT_EQ(refused(icmp6("fd00::2", {134, 0, 0, 0, 64, 0, 7, 8}, {0})), "rogue_server");
    EXPECT_EQ(refused(icmp6("fd00::2", {137, 0, 0, 0, 0, 0, 0, 0})), "rogue_server");
}

TEST_F(GuardTest, EverythingShortIsRefusedOrHarmless) {
    const std::vector<Bytes> all{udp("10.0.0.3"), udp("fd00::3"), arp(kPod, kPod, "10.0.0.1"),
                                 icmp6("fd00::2", advertisement("fd00::1", kPod), {0, 44})};
    std::uint64_t count = 0;
    for (const auto& whole : all) {
        for (std::size_t size = 14; size < whole.size(); ++size, ++count)
            bench.inject("pod", Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
    }
    bench.settle();
    EXPECT_EQ(bench.drops("pod", Drop::spoofed_address) + bench.drops("pod", Drop::spoofed_neighbour), count);
}

TEST_F(GuardTest, WithoutOneAPortIsTrusted) {
    change.put.ports["pod"].guard.reset();
    apply();
    EXPECT_EQ(refused(udp("10.0.0.3", kOther)), "");
    EXPECT_EQ(bench.collect("peer").size(), 1U);
}

}  // namespace
}  // namespace viaduct::test
