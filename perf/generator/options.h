// What a run of the generator does. Units are in the names or beside them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <rte_ether.h>

namespace viaduct::pktgen {

/// Source ports of the flood's flows; the others' lie below when there is one.
inline constexpr std::uint16_t kFloodPort = 20'000;

struct Options {
    std::vector<std::string> paths;    ///< vhost-user sockets of port 0 (sends) and port 1 (reflects)
    std::vector<std::uint32_t> flows;  ///< one measurement for each
    double seconds = 5;
    double warmup = 0.5;         ///< seconds, and at least until every flow was sent once
    double patience = 30;        ///< seconds for the device to connect and to carry the first frame
    std::uint32_t size = 60;     ///< bytes of a frame without its frame check sequence
    std::uint32_t window = 768;  ///< most frames on their way; 0: as many as the queue takes (open loop)
    std::uint16_t burst = 32;
    std::uint16_t queue_size = 1024;
    std::uint32_t cpu = 0;
    std::uint32_t memory_mb = 64;
    rte_ether_addr source_mac{};       ///< port 0's
    rte_ether_addr destination_mac{};  ///< of frames from port 0: port 1's, or a gateway's
    rte_ether_addr far_mac{};          ///< port 1's
    std::uint32_t source_ip = 0;       ///< first of source_addresses; host byte order
    std::uint32_t destination_ip = 0;  ///< host byte order
    std::uint32_t source_addresses = 1000;
    std::uint32_t destination_addresses = 1;  ///< from destination_ip on, flows in turn
    std::uint16_t source_port = 1024;         ///< first
    std::uint16_t destination_port = 9;
    bool one_way = false;                 ///< port 1 does not send back what it hears
    bool once = false;                    ///< a measurement is one frame of each flow, without a warm-up
    bool watch = false;                   ///< port 1 counts flows whose addresses and ports change
    std::uint32_t watch_destination = 0;  ///< silences of this address are told; host byte order, 0: none
    std::string heard;                    ///< file to write where port 1 heard each flow, empty for none
    double slice_seconds = 0;             ///< what comes back is counted in slices of so long; 0: it is not
    std::uint32_t flood = 0;              ///< flows of one frame each, beside the last measurement
    std::uint32_t flood_rate = 500'000;   ///< of them a second
    std::string device_arguments;         ///< of net_virtio_user, besides the generator's own
    std::string file_prefix;
    std::string json;  ///< file to write, "-" for standard output, empty for none
};

/// std::nullopt when --help or --version was printed. Throws Refused.
std::optional<Options> read_options(int argc, const char* const* argv);

}  // namespace viaduct::pktgen
