// Text that many objects have alike (nodes, zones, kinds), held once. A cluster of a hundred thousand
// endpoints names its fifty nodes a hundred thousand times.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace viaduct::kubernetes {

/// A text that nobody changes; copies share it. Reads as a std::string.
class SharedText {
public:
    SharedText() = default;
    // Not explicit: it stands where a std::string would.
    SharedText(std::string text)  // NOLINT(google-explicit-constructor)
        : text_(text.empty() ? nullptr : std::make_shared<const std::string>(std::move(text))) {}
    SharedText(const char* text) : SharedText(std::string(text)) {}  // NOLINT(google-explicit-constructor)

    [[nodiscard]] bool empty() const { return text_ == nullptr; }
    [[nodiscard]] const std::string& str() const {
        static const std::string nothing;
        return text_ == nullptr ? nothing : *text_;
    }
    operator const std::string&() const { return str(); }  // NOLINT(google-explicit-constructor)
    /// Nobody else has it.
    [[nodiscard]] bool alone() const { return text_.use_count() <= 1; }

    friend bool operator==(const SharedText& a, const SharedText& b) {
        return a.text_ == b.text_ || a.str() == b.str();
    }
    template <typename Text>
    requires(std::convertible_to<Text, std::string_view> && !std::same_as<Text, SharedText>) friend bool
    operator==(const SharedText& a, const Text& b) {
        return a.str() == std::string_view(b);
    }

private:
    std::shared_ptr<const std::string> text_;  ///< null: empty
};

/// Gives the same text to all who ask for it. For one thread; the texts are for all.
class TextPool {
public:
    SharedText share(std::string_view text) {
        if (text.empty()) return {};
        if (const auto found = texts_.find(text); found != texts_.end()) return *found;
        if (texts_.size() >= sweep_at_) sweep();
        return *texts_.insert(SharedText(std::string(text))).first;
    }

private:
    static constexpr std::size_t kLeast = 1024;

    /// What nobody has any more goes, whenever there is twice as much as was left the last time.
    void sweep() {
        std::erase_if(texts_, [](const SharedText& text) { return text.alone(); });
        sweep_at_ = std::max(kLeast, 2 * texts_.size());
    }

    struct Hash {
        using is_transparent = void;
        std::size_t operator()(const SharedText& text) const { return (*this)(std::string_view(text.str())); }
        std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
    };
    std::unordered_set<SharedText, Hash, std::equal_to<>> texts_;
    std::size_t sweep_at_ = kLeast;
};

}  // namespace viaduct::kubernetes
