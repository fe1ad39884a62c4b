// A sorted map whose copies share what they have in common, so that a configuration with a million routes is
// a value like any other: it is copied, changed in one place and compared with the one before at the price of
// the change.
//
// Theory of operation: entries lie sorted in chunks, a map is the list of its chunks. A copy has the same
// chunks; whoever changes an entry first makes its chunk its own. Two maps are compared by skipping the
// chunks that both have.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace viaduct {

/// As std::map, but that entries are reached for reading only (but by operator[]) and move when others come
/// or go. One map is for one thread at a time, as any container is; maps that share chunks need nothing
/// between them.
template <typename Key, typename Value>
class SharedMap {
    struct Chunk;

public:
    using key_type = Key;
    using mapped_type = Value;
    using value_type = std::pair<Key, Value>;
    class const_iterator;
    using iterator = const_iterator;

    SharedMap() = default;
    SharedMap(std::initializer_list<value_type> entries) {
        for (const auto& [key, value] : entries)
            emplace(key, value);
    }

    [[nodiscard]] bool empty() const { return size_ == 0; }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] const_iterator begin() const { return {this, 0, 0}; }
    [[nodiscard]] const_iterator end() const { return {this, chunks_.size(), 0}; }

    [[nodiscard]] const_iterator lower_bound(const Key& key) const {
        const auto at = chunk_of(key);
        if (at == chunks_.size()) return end();
        const auto& entries = chunks_[at]->entries;
        return {this, at, static_cast<std::size_t>(position(entries, key) - entries.begin())};
    }
    [[nodiscard]] const_iterator find(const Key& key) const {
        const auto found = lower_bound(key);
        return found != end() && !(key < found->first) ? found : end();
    }
    [[nodiscard]] bool contains(const Key& key) const { return find(key) != end(); }
    [[nodiscard]] std::size_t count(const Key& key) const { return contains(key) ? 1 : 0; }
    [[nodiscard]] const Value& at(const Key& key) const {
        const auto found = find(key);
        if (found == end()) throw std::out_of_range("SharedMap::at");
        return found->second;
    }

    /// Makes the entry's chunk this map's own; a new entry is Value{}.
    Value& operator[](const Key& key) { return place(key); }
    /// False: the key is there, with another value or the same, and nothing has changed.
    std::pair<const_iterator, bool> emplace(const Key& key, Value value) {
        if (const auto found = find(key); found != end()) return {found, false};
        place(key) = std::move(value);
        return {find(key), true};
    }
    std::pair<const_iterator, bool> insert(const value_type& entry) {
        return emplace(entry.first, entry.second);
    }
    void insert_or_assign(const Key& key, Value value) { place(key) = std::move(value); }
    /// Returns how many went: 0 or 1.
    std::size_t erase(const Key& key) {
        const auto found = find(key);
        if (found == end()) return 0;
        auto& entries = own(found.chunk_);
        entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(found.entry_));
        if (entries.empty()) chunks_.erase(chunks_.begin() + static_cast<std::ptrdiff_t>(found.chunk_));
        --size_;
        return 1;
    }
    void clear() { *this = {}; }

    /// Calls `visit(key, before, after)` for each key with which the maps differ, in order; null: not there.
    /// Stops when it returns false, and returns that then.
    template <typename Visit>
    static bool differences(const SharedMap& from, const SharedMap& to, const Visit& visit);

    friend bool operator==(const SharedMap& a, const SharedMap& b) {
        return a.size_ == b.size_ &&
               differences(a, b, [](const Key&, const Value*, const Value*) { return false; });
    }

    template <typename Predicate>
    friend std::size_t erase_if(SharedMap& map, const Predicate& predicate) {
        std::vector<Key> gone;
        for (const auto& entry : map) {
            if (predicate(entry)) gone.push_back(entry.first);
        }
        for (const auto& key : gone)
            map.erase(key);
        return gone.size();
    }

private:
    using Entries = std::vector<value_type>;
    /// So many to a chunk at most: copying one, and going through the list of them, both cost little.
    static constexpr std::size_t kMost = 256;

    struct Chunk {
        std::atomic<std::uint32_t> holders{1};
        Entries entries;
    };
    /// One of a chunk's holders.
    class Handle {
    public:
        explicit Handle(Entries entries) : chunk_(new Chunk{1, std::move(entries)}) {}
        Handle(const Handle& other) noexcept : chunk_(other.chunk_) {
            if (chunk_ != nullptr) chunk_->holders.fetch_add(1, std::memory_order_relaxed);
        }
        Handle(Handle&& other) noexcept : chunk_(std::exchange(other.chunk_, nullptr)) {}
        Handle& operator=(Handle other) noexcept {
            std::swap(chunk_, other.chunk_);
            return *this;
        }
        ~Handle() {
            if (chunk_ != nullptr && chunk_->holders.fetch_sub(1, std::memory_order_acq_rel) == 1)
                delete chunk_;
        }
        Chunk* operator->() const { return chunk_; }
        /// What others read of it they have read.
        [[nodiscard]] bool alone() const { return chunk_->holders.load(std::memory_order_acquire) == 1; }
        friend bool operator==(const Handle& a, const Handle& b) { return a.chunk_ == b.chunk_; }

    private:
        Chunk* chunk_;
    };

    template <typename SomeEntries>
    static auto position(SomeEntries& entries, const Key& key) {
        return std::lower_bound(
            entries.begin(), entries.end(), key,
            [](const value_type& entry, const Key& wanted) { return entry.first < wanted; });
    }
    /// The first chunk whose last key is not below `key`; all others' keys are.
    [[nodiscard]] std::size_t chunk_of(const Key& key) const {
        const auto found = std::lower_bound(
            chunks_.begin(), chunks_.end(), key,
            [](const Handle& chunk, const Key& wanted) { return chunk->entries.back().first < wanted; });
        return static_cast<std::size_t>(found - chunks_.begin());
    }
    Entries& own(std::size_t chunk) {
        auto& handle = chunks_[chunk];
        if (!handle.alone()) handle = Handle(handle->entries);
        return handle->entries;
    }
    Value& place(const Key& key) {
        auto at = chunk_of(key);
        if (at == chunks_.size()) {
            // Behind all others: into the last chunk, or a new one, so that what comes sorted fills them.
            if (chunks_.empty() || chunks_.back()->entries.size() == kMost) {
                chunks_.push_back(Handle(Entries{}));
            }
            at = chunks_.size() - 1;
        }
        auto& entries = own(at);
        auto found = position(entries, key);
        if (found != entries.end() && !(key < found->first)) return found->second;
        found = entries.insert(found, value_type(key, Value{}));
        ++size_;
        if (entries.size() <= kMost) return found->second;
        const auto half = entries.begin() + static_cast<std::ptrdiff_t>(entries.size() / 2);
        Handle behind(Entries(std::make_move_iterator(half), std::make_move_iterator(entries.end())));
        entries.erase(half, entries.end());
        chunks_.insert(chunks_.begin() + static_cast<std::ptrdiff_t>(at) + 1, std::move(behind));
        return place(key);
    }

    std::vector<Handle> chunks_;  ///< none is empty
    std::size_t size_ = 0;
};

template <typename Key, typename Value>
class SharedMap<Key, Value>::const_iterator {
public:
    using iterator_category = std::bidirectional_iterator_tag;
    using value_type = SharedMap::value_type;
    using difference_type = std::ptrdiff_t;
    using pointer = const value_type*;
    using reference = const value_type&;

    const_iterator() = default;
    reference operator*() const { return map_->chunks_[chunk_]->entries[entry_]; }
    pointer operator->() const { return &**this; }
    const_iterator& operator++() {
        if (++entry_ == map_->chunks_[chunk_]->entries.size()) skip_chunk();
        return *this;
    }
    const_iterator operator++(int) {
        auto before = *this;
        ++*this;
        return before;
    }
    const_iterator& operator--() {
        if (entry_ == 0) entry_ = map_->chunks_[--chunk_]->entries.size();
        --entry_;
        return *this;
    }
    const_iterator operator--(int) {
        auto before = *this;
        --*this;
        return before;
    }
    friend bool operator==(const const_iterator&, const const_iterator&) = default;

private:
    friend SharedMap;
    const_iterator(const SharedMap* map, std::size_t chunk, std::size_t entry)
        : map_(map), chunk_(chunk), entry_(entry) {}
    void skip_chunk() {
        ++chunk_;
        entry_ = 0;
    }
    /// At the begin of a chunk that the other is at the begin of, too.
    [[nodiscard]] bool meets(const const_iterator& other) const {
        return entry_ == 0 && other.entry_ == 0 && chunk_ < map_->chunks_.size() &&
               other.chunk_ < other.map_->chunks_.size() &&
               map_->chunks_[chunk_] == other.map_->chunks_[other.chunk_];
    }

    const SharedMap* map_ = nullptr;
    std::size_t chunk_ = 0;
    std::size_t entry_ = 0;
};

template <typename Key, typename Value>
template <typename Visit>
bool SharedMap<Key, Value>::differences(const SharedMap& from, const SharedMap& to, const Visit& visit) {
    auto old = from.begin();
    auto now = to.begin();
    while (old != from.end() || now != to.end()) {
        if (old.meets(now)) {
            old.skip_chunk();
            now.skip_chunk();
            continue;
        }
        const bool only_old = now == to.end() || (old != from.end() && old->first < now->first);
        const bool only_now = !only_old && (old == from.end() || now->first < old->first);
        if (only_old) {
            if (!visit(old->first, &old->second, nullptr)) return false;
        } else if (only_now) {
            if (!visit(now->first, nullptr, &now->second)) return false;
        } else if (!(old->second == now->second) && !visit(now->first, &old->second, &now->second)) {
            return false;
        }
        if (!only_now) ++old;
        if (!only_old) ++now;
    }
    return true;
}

}  // namespace viaduct
