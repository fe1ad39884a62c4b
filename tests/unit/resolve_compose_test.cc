// The node's own frames byte for byte. What is expected was written by scapy, by the line above each, with
// A='02:00:00:00:00:01', B='02:00:00:00:00:02', LL='fe80::ff:fe00:1'; not by the code that is tested.
#include <string>

#include <gtest/gtest.h>

#include "resolve/compose.h"

namespace viaduct::dataplane {

namespace {

// Ether(dst='ff:ff:ff:ff:ff:ff',src=A)/ARP(op=1,hwsrc=A,psrc='10.0.0.1',hwdst='00:00:00:00:00:00',pdst=
//   '10.0.0.2')
constexpr const char* kArpRequest =
    "ffffffffffff020000000001080600010800060400010200000000010a0000010000000000000a000002";
// Ether(dst=B,src=A)/ARP(op=2,hwsrc=A,psrc='10.0.0.1',hwdst=B,pdst='10.0.0.2')
constexpr const char* kArpReply =
    "020000000002020000000001080600010800060400020200000000010a0000010200000000020a000002";
// Ether(dst='33:33:ff:00:00:02',src=A)/IPv6(src=LL,dst='ff02::1:ff00:2',hlim=255)/ICMPv6ND_NS(tgt='2001
//   :db8::2')/ICMPv6NDOptSrcLLAddr(lladdr=A)
constexpr const char* kNs =
    "3333ff00000202000000000186dd6000000000203afffe80000000000000000000fffe000001ff020000000000000000"
    "0001ff00000287004c5f0000000020010db80000000000000000000000020101020000000001";
// Ether(dst=B,src=A)/IPv6(src='2001:db8::1',dst='2001:db8::2',hlim=255)/ICMPv6ND_NA(tgt='2001:db8::1',R
//   =1,S=1,O=1)/ICMPv6NDOptDstLLAddr(lladdr=A)
constexpr const char* kNa =
    "02000000000202000000000186dd6000000000203aff20010db800000000000000000000000120010db8000000000000"
    "00000000000288000a73e000000020010db80000000000000000000000010201020000000001";
// Ether(dst='33:33:00:00:00:01',src=A)/IPv6(src=LL,dst='ff02::1',hlim=255)/ICMPv6ND_RA(chlim=64,M=0,O=0
//   ,prf=0,routerlifetime=1800,reachabletime=0,retranstimer=0)/ICMPv6NDOptSrcLLAddr(lladdr=A)/ICMPv6NDO
//   ptMTU(mtu=1400)/ICMPv6NDOptPrefixInfo(prefixlen=64,L=1,A=1,validlifetime=2592000,preferredlifetime=
//   604800,prefix='2001:db8::')/ICMPv6NDOptPrefixInfo(prefixlen=56,L=1,A=0,validlifetime=2592000,prefer
//   redlifetime=604800,prefix='2001:db8:1::')
constexpr const char* kRa =
    "33330000000102000000000186dd6000000000603afffe80000000000000000000fffe000001ff020000000000000000"
    "0000000000018600be3e40000708000000000000000001010200000000010501000000000578030440c000278d000009"
    "3a800000000020010db80000000000000000000000000304388000278d0000093a800000000020010db8000100000000"
    "000000000000";
// Ether(dst=B,src=A)/IP(src='10.0.0.1',dst='10.0.0.2',tos=0xc0,flags='DF',id=0,ttl=64)/ICMP(type=3,code
//   =4,nexthopmtu=1400)/bytes(IP(src='10.0.0.2',dst='10.9.0.1',ttl=1,id=7)/UDP(sport=1000,dport=2000)/b
//   'payload')
constexpr const char* kTooBig =
    "020000000002020000000001080045c0003f00004000400125fc0a0000010a00000203040bb000000578450000230007"
    "00000111a5b80a0000020a09000103e807d0000f22dd7061796c6f6164";
// Ether(dst=B,src=A)/IPv6(src='2001:db8::1',dst='2001:db8::2',hlim=64)/ICMPv6TimeExceeded(code=0)/bytes
//   (IPv6(src='2001:db8::2',dst='2001:db8:9::1',hlim=1)/UDP(sport=1000,dport=2000)/b'payload')
constexpr const char* kTime6 =
    "02000000000202000000000186dd60000000003f3a4020010db800000000000000000000000120010db8000000000000"
    "000000000002030030210000000060000000000f110120010db800000000000000000000000220010db8000900000000"
    "00000000000103e807d0000fdb6a7061796c6f6164";
// Ether(dst=B,src=A)/IP(src='10.0.0.1',dst='10.0.0.2',flags='DF',id=0,ttl=64)/TCP(sport=22,dport=40000,
//   flags='RA',seq=0,ack=0x01020305,window=0)
constexpr const char* kRst4 =
    "02000000000202000000000108004500002800004000400626ce0a0000010a00000200169c4000000000010203055014"
    "0000fb700000";
// Ether(dst=B,src=A)/IPv6(src='2001:db8::1',dst='2001:db8::2',hlim=64)/TCP(sport=22,dport=40000,flags='
//   R',seq=77,ack=0,window=0)
constexpr const char* kRst6 =
    "02000000000202000000000186dd600000000014064020010db800000000000000000000000120010db8000000000000"
    "00000000000200169c400000004d0000000050040000b7c80000";

constexpr const char* kQuoted4 = "45000023000700000111a5b80a0000020a09000103e807d0000f22dd7061796c6f6164";
constexpr const char* kQuoted6 =
    "60000000000f110120010db800000000000000000000000220010db800090000000000000000000103e807d0000fdb6a7061796c"
    "6f6164";

const auto kA = MacAddress::from_u64(0x020000000001);
const auto kB = MacAddress::from_u64(0x020000000002);

IpAddress ip(const char* text) {
    return *IpAddress::parse(text);
}

std::string hex(const FrameBytes& bytes) {
    std::string text;
    for (const auto byte : bytes) {
        text += "0123456789abcdef"[byte >> 4];
        text += "0123456789abcdef"[byte & 15];
    }
    return text;
}

FrameBytes unhex(const std::string& text) {
    FrameBytes bytes;
    for (std::size_t i = 0; i < text.size(); i += 2)
        bytes.push_back(static_cast<std::uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
    return bytes;
}

}  // namespace

TEST(Compose, Arp) {
    EXPECT_EQ(hex(compose_arp({true, kA, ip("10.0.0.1"), {}, ip("10.0.0.2")}, kBroadcastMac)), kArpRequest);
    EXPECT_EQ(hex(compose_arp({false, kA, ip("10.0.0.1"), kB, ip("10.0.0.2")}, kB)), kArpReply);
}

TEST(Compose, NeighbourDiscovery) {
    const auto link_local = ip("fe80::ff:fe00:1");
    EXPECT_EQ(
        hex(compose_neighbour_solicitation(
            {MacAddress::from_u64(0x3333ff000002), kA, ip("ff02::1:ff00:2"), link_local}, ip("2001:db8::2"))),
        kNs);
    EXPECT_EQ(hex(compose_neighbour_advertisement({kB, kA, ip("2001:db8::2"), ip("2001:db8::1")},
                                                  {ip("2001:db8::1"), true, true})),
              kNa);
    EXPECT_EQ(hex(compose_router_advertisement(
                  {MacAddress::from_u64(0x333300000001), kA, ip("ff02::1"), link_local},
                  {1800, 1400, {*Prefix::parse("2001:db8::1/64"), *Prefix::parse("2001:db8:1::9/56")}})),
              kRa);
}

TEST(Compose, Errors) {
    EXPECT_EQ(
        hex(compose_icmp_error({kB, kA, ip("10.0.0.2"), ip("10.0.0.1")}, {3, 4, 1400}, unhex(kQuoted4))),
        kTooBig);
    EXPECT_EQ(
        hex(compose_icmp_error({kB, kA, ip("2001:db8::2"), ip("2001:db8::1")}, {3, 0, 0}, unhex(kQuoted6))),
        kTime6);
}

TEST(Compose, ErrorsAreNoLongerThanEveryLinkCarries) {
    const FrameBytes packet(9000, 0x45);
    EXPECT_EQ(compose_icmp_error({kB, kA, ip("10.0.0.2"), ip("10.0.0.1")}, {11, 0, 0}, packet).size(),
              14 + 576U);
    EXPECT_EQ(compose_icmp_error({kB, kA, ip("2001:db8::2"), ip("2001:db8::1")}, {2, 0, 1280}, packet).size(),
              14 + 1280U);
}

TEST(Compose, Resets) {
    EXPECT_EQ(hex(compose_tcp_reset({kB, kA, ip("10.0.0.2"), ip("10.0.0.1")}, {22, 40000, 0, 0x01020305U})),
              kRst4);
    EXPECT_EQ(hex(compose_tcp_reset({kB, kA, ip("2001:db8::2"), ip("2001:db8::1")}, {22, 40000, 77, {}})),
              kRst6);
}

}  // namespace viaduct::dataplane
