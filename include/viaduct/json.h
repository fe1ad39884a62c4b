// Reading JSON from strangers: bounded parsing, and objects read key by key so that a wrong type, a value out
// of range and an unknown key are each a fault that names its place. jsoncpp itself stays behind this header.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "viaduct/fault.h"

namespace Json {
class Value;
}

namespace viaduct {

struct JsonLimits {
    std::size_t bytes = 256U << 20U;  ///< longest text accepted; a million routes have 100 MB
    unsigned depth = 32;              ///< deepest nesting accepted
};

/// Parses one JSON text (RFC 8259), no comments, no duplicate keys, nothing after it. Throws Refused with
/// `what` as the place ("request body") and line and column in the reason.
Json::Value parse_json(std::string_view text, const std::string& what, const JsonLimits& limits = {});

/// The value on one line, or indented for people.
std::string to_json_text(const Json::Value& value, bool indented = false);

/// The faults as {"error": "one sentence", "faults": [{"where": ..., "reason": ...}]}.
Json::Value faults_to_json(const Faults& faults);
/// The faults of such an answer; a single fault with the text itself when it is something else.
Faults faults_from_text(std::string_view text);

/// Reads the members of one object. Each getter takes a key at most once; a key that is absent or null gives
/// nothing; a wrong type or a value out of range adds a fault and gives nothing. `done()` faults what no
/// getter asked for. Borrowed values must outlive the reader.
class ObjectReader {
public:
    enum class Keys { exact, any_case };  ///< any_case: as Go clients send them (CNI)

    ObjectReader(const Json::Value& object, std::string where, Faults& faults, Keys keys = Keys::exact);

    std::optional<bool> boolean(const char* key);
    std::optional<std::uint64_t> integer(const char* key, std::uint64_t low, std::uint64_t high);
    std::optional<std::string> string(const char* key, std::size_t longest = 4096);
    std::optional<std::vector<std::string>> strings(const char* key, std::size_t most = 4096);
    /// One of `words`, as its index.
    std::optional<std::size_t> choice(const char* key, const std::vector<std::string_view>& words);
    /// A member of any type; null pointer when absent.
    const Json::Value* member(const char* key);
    /// A member that must be an object or an array; null pointer when absent or of the wrong type.
    const Json::Value* object(const char* key);
    const Json::Value* array(const char* key, std::size_t most = 1U << 20U);

    void fault(const char* key, std::string reason);
    [[nodiscard]] std::string place(const char* key) const;  ///< where/key
    /// Keys that no getter asked for, in the object's order.
    [[nodiscard]] std::vector<std::string> unread() const;
    void done();                                                     ///< each unread key becomes a fault
    [[nodiscard]] bool valid() const { return object_ != nullptr; }  ///< it was an object at all

private:
    const Json::Value* take(const char* key);

    const Json::Value* object_;
    std::string where_;
    Faults& faults_;
    Keys keys_;
    std::vector<std::string> read_;
};

}  // namespace viaduct
