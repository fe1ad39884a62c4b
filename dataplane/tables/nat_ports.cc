// Taking, sharing and releasing ports; the directory of spaces.
#include "tables/nat_ports.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>

namespace viaduct::dataplane {

namespace {

constexpr std::uint64_t kAll = ~std::uint64_t{0};

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const auto product = static_cast<Wide>(a ^ 0x9e3779b97f4a7c15U) * (b ^ 0xd1342543de82ef95U);
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::array<std::uint64_t, 2> words_of(const IpAddress& address) {
    std::array<std::uint64_t, 2> words{};
    std::memcpy(words.data(), address.bytes().data(), address.bytes().size());
    return words;
}

constexpr std::uint32_t meta_of(Zone zone, std::uint8_t protocol) {
    return std::uint32_t{zone} << 8 | protocol;
}

/// A place in the range that depends on all of `random`.
std::uint32_t place_in(std::uint32_t low, std::uint32_t high, std::uint64_t random) {
    const auto size = std::uint64_t{high} - low + 1;
    return low + static_cast<std::uint32_t>((random >> 32) * size >> 32);
}

}  // namespace

// --- one space ---

bool NatPorts::Space::take(std::uint16_t port) {
    const auto word = port / 64U;
    const auto bit = std::uint64_t{1} << port % 64U;
    // A look before the write: a port that is taken costs nobody its cache line.
    if ((taken[word].load(std::memory_order_relaxed) & bit) != 0) return false;
    const auto before = taken[word].fetch_or(bit);
    if ((before & bit) != 0) return false;
    if ((before | bit) == kAll) note_full(word);
    return true;
}

/// Sets the summary's bit, and takes it back when a port was released meanwhile: the release may have come
/// between the word and its summary, and nobody else would ever clear the bit.
void NatPorts::Space::note_full(std::uint32_t word) {
    const auto bit = std::uint64_t{1} << word % 64;
    full[word / 64].fetch_or(bit);
    if (taken[word].load() != kAll) full[word / 64].fetch_and(~bit);
}

/// The first word from `word` on that is not full; kWords: none.
std::uint32_t NatPorts::Space::next_with_room(std::uint32_t word) const {
    while (word < kWords) {
        const auto room = ~full[word / 64].load(std::memory_order_relaxed) & (kAll << word % 64);
        if (room != 0) return word / 64 * 64 + static_cast<std::uint32_t>(std::countr_zero(room));
        word = (word / 64 + 1) * 64;
    }
    return kWords;
}

/// The lowest free port of an inclusive range. Only the words at its ends can have room and yet none for it,
/// so few words are looked at.
std::optional<std::uint16_t> NatPorts::Space::take_among(std::uint32_t from, std::uint32_t to) {
    // The first word is looked at before the summary: mostly it has room.
    for (auto word = from / 64; word <= to / 64; word = next_with_room(word + 1)) {
        auto mask = kAll;
        if (word == from / 64) mask &= kAll << from % 64;
        if (word == to / 64) mask &= kAll >> (63 - to % 64);
        for (auto room = ~taken[word].load(std::memory_order_relaxed) & mask; room != 0; room &= room - 1) {
            const auto port =
                static_cast<std::uint16_t>(word * 64 + static_cast<std::uint32_t>(std::countr_zero(room)));
            if (take(port)) return port;
        }
    }
    return std::nullopt;
}

bool NatPorts::Space::add_holder(std::uint16_t port) {
    auto count = further[port].load(std::memory_order_relaxed);
    do {
        if (count == UINT8_MAX) return false;
    } while (!further[port].compare_exchange_weak(count, static_cast<std::uint8_t>(count + 1)));
    return true;
}

void NatPorts::Space::release(std::uint16_t port) {
    auto count = further[port].load(std::memory_order_relaxed);
    while (count != 0) {
        if (further[port].compare_exchange_weak(count, static_cast<std::uint8_t>(count - 1))) return;
    }
    const auto word = port / 64U;
    const auto before = taken[word].fetch_and(~(std::uint64_t{1} << port % 64U));
    if (before == kAll) full[word / 64].fetch_and(~(std::uint64_t{1} << word % 64));
}

// --- all spaces ---

NatPorts::NatPorts(NatPortsOptions options)
    : spaces_most_(options.spaces),
      bytes_(std::size_t{options.spaces} * sizeof(Space)),
      directory_mask_(std::bit_ceil(options.spaces * 2) - 1),
      directory_(std::make_unique<std::atomic<std::uint32_t>[]>(std::size_t{directory_mask_} + 1)),
      mappings_(options.mappings),
      rule_counts_(std::make_unique<RuleCount[]>(kRulesCounted)) {
    auto* memory =
        ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("no address space for the ports of NAT");
    spaces_ = static_cast<Space*>(memory);
    // A hint: ports are taken here and there, and each small page would be a walk through the page tables.
    ::madvise(memory, bytes_, MADV_HUGEPAGE);
}

NatPorts::~NatPorts() {
    ::munmap(spaces_, bytes_);
}

NatPorts::Space* NatPorts::find(Zone zone, std::uint8_t protocol, const IpAddress& address) const {
    const auto words = words_of(address);
    const auto meta = meta_of(zone, protocol);
    auto slot = static_cast<std::uint32_t>(mix(words[0] ^ meta, words[1]));
    for (;; ++slot) {
        const auto number = directory_[slot & directory_mask_].load(std::memory_order_acquire);
        if (number == 0) return nullptr;
        auto& space = spaces_[number - 1];
        if (space.meta == meta && space.address == words && space.v4 == address.is_v4()) return &space;
    }
}

NatPorts::Space* NatPorts::find_or_make(Zone zone, std::uint8_t protocol, const IpAddress& address) {
    if (auto* found = find(zone, protocol, address)) return found;
    const auto mine = claim_space();
    if (mine == 0) return nullptr;
    auto& made = spaces_[mine - 1];
    made.address = words_of(address);
    made.meta = meta_of(zone, protocol);
    made.v4 = address.is_v4();
    auto slot = static_cast<std::uint32_t>(mix(made.address[0] ^ made.meta, made.address[1]));
    for (;; ++slot) {
        std::uint32_t number = 0;
        if (directory_[slot & directory_mask_].compare_exchange_strong(number, mine,
                                                                       std::memory_order_acq_rel)) {
            return &made;
        }
        auto& other = spaces_[number - 1];
        if (other.meta != made.meta || other.address != made.address || other.v4 != made.v4) continue;
        // Another worker was first. Two in vain at once: the second place is lost, which the bound can bear.
        spare_.store(mine);
        return &other;
    }
}

/// Number of a space plus one; 0: no more.
std::uint32_t NatPorts::claim_space() {
    if (const auto spare = spare_.exchange(0); spare != 0) return spare;
    // Looked at first, so that a flood of new addresses cannot make the counter wrap.
    if (spaces_made_.load(std::memory_order_relaxed) >= spaces_most_) return 0;
    const auto made = spaces_made_.fetch_add(1);
    return made < spaces_most_ ? made + 1 : 0;
}

std::optional<std::uint16_t> NatPorts::take(const Request& request) {
    auto* space = find_or_make(request.zone, request.protocol, request.outside);
    if (space == nullptr) return std::nullopt;
    if (request.preferred >= request.low && request.preferred <= request.high &&
        space->take(request.preferred)) {
        return request.preferred;
    }
    if (request.preferred >= request.low && request.preferred <= request.high) {
        // Near it, where the cache has been: one of 512 ports, from a place that nobody can foresee.
        constexpr std::uint32_t kNear = 512;
        const auto first = std::max<std::uint32_t>(request.preferred & ~(kNear - 1), request.low);
        const auto last = std::min<std::uint32_t>(request.preferred | (kNear - 1), request.high);
        if (const auto port = space->take_among(place_in(first, last, request.start), last)) return port;
    }
    const auto start = place_in(request.low, request.high, request.start);
    if (const auto port = space->take_among(start, request.high)) return port;
    return start == request.low ? std::nullopt : space->take_among(request.low, start - 1);
}

std::optional<std::uint16_t> NatPorts::share(const Request& request, unsigned attempt) {
    auto* space = find_or_make(request.zone, request.protocol, request.outside);
    if (space == nullptr) return std::nullopt;
    const bool preferred = request.preferred >= request.low && request.preferred <= request.high;
    const auto port = preferred && attempt == 0
                          ? request.preferred
                          : static_cast<std::uint16_t>(
                                place_in(request.low, request.high, mix(request.start, attempt + 1)));
    if (space->take(port) || space->add_holder(port)) return port;
    return std::nullopt;
}

void NatPorts::release(Zone zone, std::uint8_t protocol, const IpAddress& outside, std::uint16_t port) {
    if (auto* space = find(zone, protocol, outside)) space->release(port);
}

void NatPorts::release_mapping(const NatMappings::Inside& inside, const NatMappings::Outside& outside) {
    if (mappings_.release(inside, outside) == NatMappings::Left::others) return;
    release(inside.zone, inside.protocol, outside.address, outside.port);
}

// --- flows ---

template <typename Key>
void NatPorts::released(const FlowRecord<Key>& initiator, const FlowRecord<Key>& reply) {
    if (!holds_port(initiator)) return;
    const auto& key = initiator.key;
    const auto outside = ip_address(reply.key.destination);
    const auto port = initiator.new_source_port.to_host();
    if (initiator.has(kFlowMapping)) {
        release_mapping({key.zone, key.protocol, ip_address(key.source), key.source_port.to_host()},
                        {outside, port});
    } else {
        release(reply.key.zone, key.protocol, outside, port);
    }
}

template <typename Key>
void NatPorts::fetch(const FlowRecord<Key>& either) const {
    if (!either.has(kFlowTranslate) || either.has(kFlowStatic)) return;
    // The outside is where the reply's direction goes to.
    const bool initiator = either.has(kFlowInitiator);
    const auto& outside = initiator ? either.new_source : either.key.destination;
    const auto port = initiator ? either.new_source_port : either.key.destination_port;
    const auto* space = find(either.key.zone, either.key.protocol, ip_address(outside));
    if (space != nullptr) __builtin_prefetch(&space->taken[port.to_host() / 64U], 1);
}

void NatPorts::flow_may_go(const FlowRecord<FlowKey4>& either) const {
    fetch(either);
}

void NatPorts::flow_may_go(const FlowRecord<FlowKey6>& either) const {
    fetch(either);
}

void NatPorts::flow_removed(const FlowRecord<FlowKey4>& initiator, const FlowRecord<FlowKey4>& reply) {
    released(initiator, reply);
}

void NatPorts::flow_removed(const FlowRecord<FlowKey6>& initiator, const FlowRecord<FlowKey6>& reply) {
    released(initiator, reply);
}

// --- what people are told ---

/// Null when there is none and none may be made, or too many rules are counted already.
NatPorts::RuleCount* NatPorts::count_of(std::uint32_t rule, bool make) const {
    for (std::uint32_t i = 0; i < kRulesCounted; ++i) {
        auto& entry = rule_counts_[(rule + i) % kRulesCounted];
        auto owner = entry.rule.load(std::memory_order_relaxed);
        if (owner == 0 && make && entry.rule.compare_exchange_strong(owner, rule)) return &entry;
        if (owner == rule) return &entry;
        if (owner == 0) return nullptr;
    }
    return nullptr;
}

void NatPorts::count_exhausted(std::uint32_t rule) {
    exhausted_.fetch_add(1, std::memory_order_relaxed);
    if (rule == 0) return;
    if (auto* entry = count_of(rule, true)) entry->count.fetch_add(1, std::memory_order_relaxed);
}

std::uint64_t NatPorts::exhausted(std::uint32_t rule) const {
    const auto* entry = rule == 0 ? nullptr : count_of(rule, false);
    return entry == nullptr ? 0 : entry->count.load(std::memory_order_relaxed);
}

void NatPorts::visit(const std::function<void(const SpaceState&)>& visit) const {
    for (std::uint32_t slot = 0; slot <= directory_mask_; ++slot) {
        const auto number = directory_[slot].load(std::memory_order_acquire);
        if (number == 0) continue;
        const auto& space = spaces_[number - 1];
        std::array<std::uint8_t, 16> bytes{};
        std::memcpy(bytes.data(), space.address.data(), bytes.size());
        SpaceState state{static_cast<Zone>(space.meta >> 8), static_cast<std::uint8_t>(space.meta), {}, 0, 0};
        state.outside = *IpAddress::from_bytes(std::span(bytes).first(space.v4 ? 4 : 16));
        for (std::uint32_t word = 0; word < kWords; ++word) {
            auto bits = space.taken[word].load(std::memory_order_relaxed);
            state.taken += static_cast<std::uint32_t>(std::popcount(bits));
            for (; bits != 0; bits &= bits - 1) {
                const auto port = word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
                state.shared += space.further[port].load(std::memory_order_relaxed);
            }
        }
        visit(state);
    }
}

}  // namespace viaduct::dataplane
