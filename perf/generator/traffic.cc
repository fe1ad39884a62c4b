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
    : options_(options), frames_(frames), stopped_(stopped), sightings_(options) {}

Traffic::~Traffic() {
    rte_pktmbuf_free_bulk(stock_.data(), stocked_);
}

/// All before this one came back, or are lost.
void Traffic::acknowledge(std::uint32_t sequence) {
    if (is_since(sequence, acknowledged_)) acknowledged_ = sequence + 1;
}

/// To be sent again.
void Traffic::keep(rte_mbuf* frame) {
    if (stocked_ < stock_.size()) {
        stock_[stocked_++] = frame;
    } else {
        rte_pktmbuf_free(frame);
    }
}

/// Counts a frame at port 1, and turns it round if it is to go back.
bool Traffic::hear_far(rte_mbuf* heard, std::uint64_t now) {
    auto* const data = rte_pktmbuf_mtod(heard, void*);
    auto* const frame = our_frame(data, heard->data_len);
    if (frame == nullptr) {
        answer_foreign(Ports::kFar, heard);
        return false;
    }
    if (sightings_.heard_far(*frame, now)) ++counts_.moved;
    if (frame->mark.flow == Mark::kFlood) {
        ++counts_.flood_reached;
        keep(heard);
        return false;
    }
    if (!sample_.taken) [[unlikely]]
        sample_ = {true, frame != data, *frame};
    const bool counts = is_since(frame->mark.sequence, first_);
    if (counts) ++counts_.reached_far;
    if (options_.one_way) {
        if (counts) acknowledge(frame->mark.sequence);
        keep(heard);
        return false;
    }
    reflect(*frame);
    if (frame != data) reflect(*static_cast<TunnelFrame*>(data));
    return true;
}

/// Port 1: everything that is ours goes back where it came from.
bool Traffic::reflect_far(std::uint64_t now) {
    std::array<rte_mbuf*, kBurstMost> heard;
    const auto count = rte_eth_rx_burst(Ports::kFar, 0, heard.data(), options_.burst);
    if (count == 0) return false;
    std::uint16_t back = 0;
    for (std::uint16_t i = 0; i < count; ++i)
        if (hear_far(heard[i], now)) heard[back++] = heard[i];
    if (options_.one_way) last_heard_ = now;
    const auto sent = rte_eth_tx_burst(Ports::kFar, 0, heard.data(), back);
    if (sent < back) {
        counts_.far_dropped += back - sent;
        rte_pktmbuf_free_bulk(heard.data() + sent, back - sent);
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
            sightings_.heard_near(frame, now);
            acknowledge(frame.mark.sequence);
            if (!timed) {
                latency_->add(static_cast<std::uint32_t>(now) - frame.mark.time);
                timed = true;
            }
        }
        keep(heard[i]);
    }
    last_heard_ = now;
    return true;
}

std::uint32_t Traffic::room(const Flows& flows) const {
    std::uint32_t most = options_.burst;
    if (options_.once)
        most = static_cast<std::uint32_t>(std::min<std::uint64_t>(most, flows.count() - first_round_));
    if (options_.window == 0) return most;
    const auto on_their_way = next_ - acknowledged_;
    return std::min<std::uint32_t>(most, options_.window - on_their_way);
}

/// Frames to fill, of the stock's end or, when that has too few, new ones; fewer when these are used up.
std::span<rte_mbuf*> Traffic::take(std::uint16_t count) {
    if (stocked_ < count) {
        if (rte_pktmbuf_alloc_bulk(frames_, stock_.data() + stocked_, count - stocked_) == 0) {
            stocked_ = count;
        } else {
            count = stocked_;
        }
    }
    const std::span<rte_mbuf*> frames(stock_.data() + (stocked_ - count), count);
    for (auto* frame : frames) {
        rte_pktmbuf_reset(frame);
        frame->data_len = static_cast<std::uint16_t>(options_.size);
        frame->pkt_len = options_.size;
    }
    return frames;
}

/// Sends what take() gave. What the queue has no room for goes back to the stock.
std::uint16_t Traffic::transmit(std::span<rte_mbuf*> frames) {
    const auto sent =
        rte_eth_tx_burst(Ports::kNear, 0, frames.data(), static_cast<std::uint16_t>(frames.size()));
    std::copy(frames.begin() + sent, frames.end(), frames.begin());
    stocked_ = static_cast<std::uint16_t>(stocked_ - sent);
    return sent;
}

bool Traffic::send(Flows& flows, std::uint64_t now) {
    const auto count = static_cast<std::uint16_t>(room(flows));
    if (count == 0) {
        if (next_ != acknowledged_ && now - last_heard_ > cycles(kStallSeconds)) {
            ++counts_.stalls;
            acknowledged_ = next_;
            last_heard_ = now;
        }
        return false;
    }
    const auto frames = take(count);
    for (std::uint32_t i = 0; i < frames.size(); ++i) {
        auto& frame = frame_of(frames[i]);
        const auto flow = first_round_ + i < flows.count() ? flows.write_first_round(frame, first_round_ + i)
                                                           : flows.write_next(frame);
        frame.mark = {Mark::kMagic, flow, next_ + i, static_cast<std::uint32_t>(now)};
    }
    const auto sent = transmit(frames);
    next_ += sent;
    first_round_ += sent;
    counts_.sent += sent;
    return sent > 0;
}

/// As many as are due by now. What the device has no room for waits, and is due still.
bool Traffic::send_flood(const Flows& flows, std::uint64_t now) {
    const auto seconds = static_cast<double>(now - flood_start_) / static_cast<double>(rte_get_tsc_hz());
    const auto due =
        std::min<std::uint64_t>(options_.flood, static_cast<std::uint64_t>(seconds * options_.flood_rate));
    if (due <= counts_.flood_sent) return false;
    const auto frames =
        take(static_cast<std::uint16_t>(std::min<std::uint64_t>(options_.burst, due - counts_.flood_sent)));
    for (std::uint32_t i = 0; i < frames.size(); ++i) {
        auto& frame = frame_of(frames[i]);
        const auto flow = flows.write_flood(frame, counts_.flood_sent + i);
        frame.mark = {Mark::kMagic, flow, 0, static_cast<std::uint32_t>(now)};
    }
    const auto sent = transmit(frames);
    counts_.flood_sent += sent;
    return sent > 0;
}

std::uint64_t Traffic::turn(Flows* flows, std::uint64_t now) {
    bool moved = reflect_far(now);
    moved |= hear_near(now);
    if (flows != nullptr) {
        moved |= send(*flows, now);
        if (flood_start_ != 0) moved |= send_flood(*flows, now);
    }
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
    const auto flow = flows.write_first_round(frame, 0);
    frame.mark = {Mark::kMagic, flow, next_++, static_cast<std::uint32_t>(rte_rdtsc())};
    ++counts_.sent;
    if (rte_eth_tx_burst(Ports::kNear, 0, &mbuf, 1) == 0) rte_pktmbuf_free(mbuf);
}

void Traffic::learn(const Flows& flows) {
    forget();
    auto now = rte_rdtsc();
    const auto deadline = now + cycles(options_.patience);
    auto next_probe = now;
    while (arrived() == 0) {
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
    while (now < deadline && arrived() < counts_.sent)
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

/// The time is over, and with --once or a flood all of it is sent too.
bool Traffic::ended(const Flows& flows, std::uint64_t now, std::uint64_t end) const {
    if (stopped_) return true;
    if (options_.once) return first_round_ >= flows.count();
    return now >= end && (flood_start_ == 0 || counts_.flood_sent >= options_.flood);
}

Measurement Traffic::measure(Flows& flows, bool flood) {
    sightings_.begin(flows.count(), rte_rdtsc());
    sample_ = {};
    if (!options_.once) warm_up(flows);
    Measurement result;
    result.flows = flows.count();
    result.one_way = options_.one_way;
    latency_ = &result.latency;
    forget();
    const auto carried = [this] { return counts_.reached_far + counts_.returned; };
    const auto second = rte_get_tsc_hz();
    const auto cpu_start = cpu_seconds();
    const auto start = rte_rdtsc();
    const auto end = start + cycles(options_.seconds);
    sightings_.begin(flows.count(), start);
    auto next_second = start + second;
    flood_start_ = flood ? start : 0;
    first_round_ = options_.once ? 0 : flows.count();
    std::uint64_t carried_before = 0;
    auto now = start;
    while (!ended(flows, now, end)) {
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
    flood_start_ = 0;
    result.seen = sightings_.end(now);
    drain();
    sightings_.write_heard();
    latency_ = nullptr;
    result.counts = counts_;
    result.sample = sample_;
    return result;
}

}  // namespace viaduct::pktgen
