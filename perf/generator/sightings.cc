#include "sightings.h"

#include <ctime>
#include <fstream>
#include <stdexcept>
#include <utility>

#include <rte_cycles.h>

namespace viaduct::pktgen {

namespace {

std::uint64_t cycles(double seconds) {
    return static_cast<std::uint64_t>(seconds * static_cast<double>(rte_get_tsc_hz()));
}

double monotonic_seconds() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace

Sightings::Sightings(const Options& options)
    : options_(options),
      watches_(options.watch || options.watch_destination != 0 || !options.heard.empty()),
      watched_(rte_cpu_to_be_32(options.watch_destination)),
      slice_cycles_(cycles(options.slice_seconds)),
      silence_cycles_(cycles(kSilenceSeconds)) {
    if (!options.heard.empty()) std::ofstream(options.heard, std::ios::trunc);
}

double Sightings::monotonic(std::uint64_t tsc) const {
    const auto now_tsc = rte_rdtsc();
    const auto now = monotonic_seconds();
    const auto share = static_cast<double>(tsc - begin_tsc_) / static_cast<double>(now_tsc - begin_tsc_);
    return begin_monotonic_ + share * (now - begin_monotonic_);
}

void Sightings::begin(std::uint32_t flows, std::uint64_t now) {
    if (watches_ && addresses_.size() != flows) addresses_.assign(flows, Addresses{});
    begin_tsc_ = now;
    begin_monotonic_ = monotonic_seconds();
    watched_heard_ = 0;
    seen_ = {};
    seen_.slices_begin = begin_monotonic_;
    if (slice_cycles_ == 0) return;
    seen_.slices.resize(options_.destination_addresses);
    for (auto& slices : seen_.slices)
        slices.reserve(static_cast<std::size_t>(options_.seconds / options_.slice_seconds) + 1);
}

bool Sightings::note_addresses(const Frame& frame) {
    if (frame.mark.flow >= addresses_.size()) return false;
    auto& before = addresses_[frame.mark.flow];
    const Addresses now{frame.ip.src_addr, frame.ip.dst_addr, frame.udp.src_port, frame.udp.dst_port};
    const bool moved = before.source != 0 && !(before == now);
    before = now;
    return moved;
}

void Sightings::note_watched(std::uint64_t now) {
    if (watched_heard_ != 0 && now - watched_heard_ > silence_cycles_)
        seen_.silences.push_back({monotonic(watched_heard_), monotonic(now)});
    watched_heard_ = now;
}

void Sightings::note_slice(const Frame& frame, std::uint64_t now) {
    auto& slices = seen_.slices[frame.mark.flow % options_.destination_addresses];
    const auto slice = static_cast<std::size_t>((now - begin_tsc_) / slice_cycles_);
    if (slice >= slices.size()) slices.resize(slice + 1);
    ++slices[slice];
}

SeenFlows Sightings::end(std::uint64_t now) {
    if (watched_heard_ != 0 && now - watched_heard_ > silence_cycles_)
        seen_.silences.push_back({monotonic(watched_heard_), 0});
    // All of one length: a destination that nothing comes back from has slices too.
    for (auto& slices : seen_.slices)
        slices.resize(static_cast<std::size_t>((now - begin_tsc_) / slice_cycles_));
    return std::move(seen_);
}

void Sightings::write_heard() const {
    if (options_.heard.empty()) return;
    std::ofstream stream(options_.heard, std::ios::binary | std::ios::app);
    for (const auto& addresses : addresses_)
        stream.write(reinterpret_cast<const char*>(&addresses.destination), sizeof addresses.destination);
    stream.flush();
    if (!stream) throw std::runtime_error("cannot write " + options_.heard);
}

}  // namespace viaduct::pktgen
