#include "traffic.h"

#include <algorithm>
#include <ctime>
#include <stdexcept>

#include <rte_arp.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "frame.h"
#include "ports.h"

namespace viaduct::pktgen {

namespace {

constexpr double kStallSeconds = 0.02;
constexpr double kDrainSeconds = 0.2;
constexpr double kProbeSeconds = 0.01;

std::uint64_t cycles(double seconds) {
    return static_cast<std::uint64_t>(seconds * static_cast<double>(rte_get_tsc_hz()));
}

Frame& frame_of(rte_mbuf* mbuf) {
    return *rte_pktmbuf_mtod(mbuf, Frame*);
}

/// `a` is `b` or comes after it, in numbers that wrap.
bool is_since(std::uint32_t a, std::uint32_t b) {
    return static_cast<std::int32_t>(a - b) >= 0;
}

/// Of this thread, as the kernel counts it.
double cpu_seconds() {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct ArpFrame {
    rte_ether_hdr ethernet;
    rte_arp_hdr arp;
} __attribute__((packed, aligned(2)));

}  // namespace

Traffic::Traffic(const Options& options, rte_mempool* frames, const std::atomic<bool>& stopped)
    : options_(options), frames_(frames), stopped_(stopped) {}

Traffic::~Traffic() {
    rte_pktmbuf_free_bulk(stock_.data(), stocked_);
}

/// Port 1: everything that is ours goes back where it came from.
bool Traffic::reflect_far() {
    std::array<rte_mbuf*, kBurstMost> heard;
    const auto count = rte_eth_rx_burst(Ports::kFar, 0, heard.data(), options_.burst);
    if (count == 0) return false;
    std::uint16_t ours = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
        auto& frame = frame_of(heard[i]);
        if (!is_ours(frame, heard[i]->data_len)) {
            answer_foreign(Ports::kFar, heard[i]);
            continue;
        }
        if (is_since(frame.mark.sequence, first_)) ++counts_.reached_far;
        reflect(frame);
        heard[ours++] = heard[i];
    }
    const auto sent = rte_eth_tx_burst(Ports::kFar, 0, heard.data(), ours);
    if (sent < ours) {
        counts_.far_dropped += ours - sent;
        rte_pktmbuf_free_bulk(heard.data() + sent, ours - sent);
    }
    return true;
}

/// Port 0: counts what came back and keeps the buffers to send again.
bool Traffic::hear_near(std::uint64_t now) {
    std::array<rte_mbuf*, kBurstMost> heard;
    const auto count = rte_eth_rx_burst(Ports::kNear, 0, heard.data(), options_.burst);
    if (count == 0) return false;
    bool timed = latency_ == nullptr;
    for (std::uint16_t i = 0; i < count; ++i) {
        const auto& frame = frame_of(heard[i]);
        if (!is_ours(frame, heard[i]->data_len)) {
            answer_foreign(Ports::kNear, heard[i]);
            continue;
        }
        if (is_since(frame.mark.sequence, first_)) {
            ++counts_.returned;
            if (is_since(frame.mark.sequence, acknowledged_)) acknowledged_ = frame.mark.sequence + 1;
            if (!timed) {
                latency_->add(now - frame.mark.time);
                timed = true;
            }
        }
        if (stocked_ < stock_.size()) {
            stock_[stocked_++] = heard[i];
        } else {
            rte_pktmbuf_free(heard[i]);
        }
    }
    last_heard_ = now;
    return true;
}

std::uint32_t Traffic::room() const {
    if (options_.window == 0) return options_.burst;
    const auto on_their_way = next_ - acknowledged_;
    return std::min<std::uint32_t>(options_.burst, options_.window - on_their_way);
}

bool Traffic::send(Flows& flows, std::uint64_t now) {
    auto count = static_cast<std::uint16_t>(room());
    if (count == 0) {
        if (now - last_heard_ > cycles(kStallSeconds)) {
            ++counts_.stalls;
            acknowledged_ = next_;
            last_heard_ = now;
        }
        return false;
    }
    if (stocked_ < count) {
        if (rte_pktmbuf_alloc_bulk(frames_, stock_.data() + stocked_, count - stocked_) == 0) {
            stocked_ = count;
        } else {
            count = stocked_;
        }
    }
    auto* const frames = stock_.data() + (stocked_ - count);
    for (std::uint16_t i = 0; i < count; ++i) {
        rte_pktmbuf_reset(frames[i]);
        frames[i]->data_len = static_cast<std::uint16_t>(options_.size);
        frames[i]->pkt_len = options_.size;
        auto& frame = frame_of(frames[i]);
        if (first_round_ + i < flows.count()) [[unlikely]] {
            flows.write_first_round(frame, first_round_ + i);
        } else {
            flows.write_next(frame);
        }
        frame.mark = {Mark::kMagic, next_ + i, now};
    }
    const auto sent = rte_eth_tx_burst(Ports::kNear, 0, frames, count);
    std::copy(frames + sent, frames + count, frames);  // not sent: back to the stock
    stocked_ = static_cast<std::uint16_t>(stocked_ - sent);
    next_ += sent;
    first_round_ += sent;
    counts_.sent += sent;
    return sent > 0;
}

std::uint64_t Traffic::turn(Flows* flows, std::uint64_t now) {
    bool moved = reflect_far();
    moved |= hear_near(now);
    if (flows != nullptr) moved |= send(*flows, now);
    const auto end = rte_rdtsc();
    if (!moved) counts_.idle_cycles += end - now;
    return end;
}

/// ARP requests are answered for every address, so that a router between the ports finds its neighbours.
void Traffic::answer_foreign(std::uint16_t port, rte_mbuf* frame) {
    ++counts_.foreign;
    auto& request = *rte_pktmbuf_mtod(frame, ArpFrame*);
    auto& data = request.arp.arp_data;
    const bool asks = frame->data_len >= sizeof(ArpFrame) &&
                      request.ethernet.ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP) &&
                      request.arp.arp_opcode == rte_cpu_to_be_16(RTE_ARP_OP_REQUEST) &&
                      data.arp_sip != data.arp_tip;
    if (asks) {
        const auto mac = port == Ports::kNear ? options_.source_mac : options_.far_mac;
        request.ethernet.dst_addr = data.arp_sha;
        request.ethernet.src_addr = mac;
        request.arp.arp_opcode = rte_cpu_to_be_16(RTE_ARP_OP_REPLY);
        const auto asked = data.arp_tip;
        data.arp_tha = data.arp_sha;
        data.arp_tip = data.arp_sip;
        data.arp_sha = mac;
        data.arp_sip = asked;
        if (rte_eth_tx_burst(port, 0, &frame, 1) == 1) return;
    }
    rte_pktmbuf_free(frame);
}

/// A gratuitous ARP request (RFC 5227, section 3): bridges learn the MAC from it.
void Traffic::announce(std::uint16_t port, const rte_ether_addr& mac, std::uint32_t address) {
    auto* mbuf = rte_pktmbuf_alloc(frames_);
    if (mbuf == nullptr) return;
    auto* data = rte_pktmbuf_append(mbuf, kFrameLeast);
    std::fill_n(data, kFrameLeast, '\0');
    auto& frame = *rte_pktmbuf_mtod(mbuf, ArpFrame*);
    std::fill_n(frame.ethernet.dst_addr.addr_bytes, RTE_ETHER_ADDR_LEN, std::uint8_t{0xff});
    frame.ethernet.src_addr = mac;
    frame.ethernet.ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP);
    auto& arp = frame.arp;
    arp.arp_hardware = rte_cpu_to_be_16(RTE_ARP_HRD_ETHER);
    arp.arp_protocol = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
    arp.arp_hlen = RTE_ETHER_ADDR_LEN;
    arp.arp_plen = sizeof(rte_be32_t);
    arp.arp_opcode = rte_cpu_to_be_16(RTE_ARP_OP_REQUEST);
    arp.arp_data.arp_sha = mac;
    arp.arp_data.arp_sip = rte_cpu_to_be_32(address);
    arp.arp_data.arp_tip = arp.arp_data.arp_sip;
    if (rte_eth_tx_burst(port, 0, &mbuf, 1) == 0) rte_pktmbuf_free(mbuf);
}

void Traffic::probe(const Flows& flows) {
    announce(Ports::kNear, options_.source_mac, options_.source_ip);
    announce(Ports::kFar, options_.far_mac, options_.destination_ip);
    auto* mbuf = rte_pktmbuf_alloc(frames_);
    if (mbuf == nullptr) return;
    rte_pktmbuf_append(mbuf, static_cast<std::uint16_t>(options_.size));
    auto& frame = frame_of(mbuf);
    flows.write_first_round(frame, 0);
    frame.mark = {Mark::kMagic, next_++, rte_rdtsc()};
    ++counts_.sent;
    if (rte_eth_tx_burst(Ports::kNear, 0, &mbuf, 1) == 0) rte_pktmbuf_free(mbuf);
}

void Traffic::learn(const Flows& flows) {
    forget();
    auto now = rte_rdtsc();
    const auto deadline = now + cycles(options_.patience);
    auto next_probe = now;
    while (counts_.returned == 0) {
        if (stopped_) return;
        if (now > deadline) {
            throw std::runtime_error(counts_.reached_far == 0
                                         ? "no frame got from port 0 to port 1: does the device forward?"
                                         : "frames get from port 0 to port 1, but none back to port 0");
        }
        if (now > next_probe) {
            probe(flows);
            next_probe = now + cycles(kProbeSeconds);
        }
        now = turn(nullptr, now);
    }
    drain();
}

/// Nothing that is still on its way counts in what follows.
void Traffic::forget() {
    counts_ = {};
    first_ = acknowledged_ = next_;
    last_heard_ = rte_rdtsc();
}

void Traffic::drain() {
    auto now = rte_rdtsc();
    const auto deadline = now + cycles(kDrainSeconds);
    while (now < deadline && counts_.returned < counts_.sent)
        now = turn(nullptr, now);
}

void Traffic::warm_up(Flows& flows) {
    forget();
    first_round_ = 0;
    auto now = rte_rdtsc();
    const auto end = now + cycles(options_.warmup);
    while (!stopped_ && (now < end || first_round_ < flows.count()))
        now = turn(&flows, now);
    drain();
}

Measurement Traffic::measure(Flows& flows) {
    warm_up(flows);
    Measurement result;
    result.flows = flows.count();
    latency_ = &result.latency;
    forget();
    const auto carried = [this] { return counts_.reached_far + counts_.returned; };
    const auto second = rte_get_tsc_hz();
    const auto cpu_start = cpu_seconds();
    const auto start = rte_rdtsc();
    const auto end = start + cycles(options_.seconds);
    auto next_second = start + second;
    std::uint64_t carried_before = 0;
    auto now = start;
    while (now < end && !stopped_) {
        now = turn(&flows, now);
        if (now >= next_second) {
            result.second_mpps.push_back(static_cast<double>(carried() - carried_before) / 1e6);
            carried_before = carried();
            next_second += second;
        }
    }
    result.seconds = static_cast<double>(now - start) / static_cast<double>(second);
    result.on_cpu = (cpu_seconds() - cpu_start) / result.seconds;
    result.carried = carried();
    result.idle_cycles = counts_.idle_cycles;
    drain();
    latency_ = nullptr;
    result.counts = counts_;
    return result;
}

}  // namespace viaduct::pktgen
