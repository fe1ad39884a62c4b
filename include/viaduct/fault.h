// What was wrong with an input, where, and what would be right: the one form in which every part refuses.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace viaduct {

/// One fault. `where` names the object and key as a person would find it ("ports/web-1/mtu"); `reason` is a
/// sentence without a full stop that says what is wrong and what would be right.
struct Fault {
    std::string where;
    std::string reason;
    friend bool operator==(const Fault&, const Fault&) = default;
};

using Faults = std::vector<Fault>;

/// All faults in one line, separated by "; ".
std::string to_string(const Faults& faults);

/// Thrown where an input is refused as a whole; nothing of it was applied.
class Refused : public std::runtime_error {
public:
    explicit Refused(Faults faults) : std::runtime_error(to_string(faults)), faults_(std::move(faults)) {}
    Refused(std::string where, std::string reason) : Refused(Faults{{std::move(where), std::move(reason)}}) {}
    [[nodiscard]] const Faults& faults() const { return faults_; }

private:
    Faults faults_;
};

}  // namespace viaduct
