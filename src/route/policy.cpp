#include "route/policy.hpp"

namespace intertie::route {
std::string_view default_policy_text() {
  return R"(# The default policy. What it says in plain words:
#
# 1. The switch orchestrates: an application need not name a model. It says "auto".
# 2. Small tasks and anything sensitive run on this device. What is sensitive never leaves it, whatever was asked for; a
#    small task goes further only when nothing here can answer it and the rules below let it.
# 3. General work runs at the nearest place that fits: a quantised model on this device, then the edge (servers of your own).
# 4. High-end reasoning goes to the cloud only when it is needed and allowed: paid places are off until you turn them on,
#    and each crossing has its reason on record (`intertie explain last`).

[policy]
paid = false            # may places that cost money be used at all?
furthest = "cloud"      # "device", "edge" or "cloud": nothing beyond it is used, whatever else allows it
small_tokens = 2000     # a prompt this short is a small task
high_end_quality = 0    # models outside the device from this quality on are the last choice of `auto`; 0 = none is
prefer = []             # provider names; breaks ties only

# What each class of data may do at each level of trust. Columns: this device (T0), own server (T1), attested confidential
# cloud (T2), contract cloud (T3), any cloud (T4). "allow" as it is, "local-only" stays on this device, "block" is refused.
[policy.matrix]
C0 = ["allow", "allow", "allow", "allow", "allow"]                          # public
C1 = ["allow", "allow", "allow", "allow", "allow"]                          # identity words: names, places
C2 = ["allow", "allow", "local-only", "local-only", "local-only"]           # direct contact: e-mail, phone
C3 = ["allow", "local-only", "local-only", "local-only", "local-only"]      # regulated: cards, health, accounts
C4 = ["allow", "local-only", "local-only", "block", "block"]                # secrets: keys, passwords
C5 = ["allow", "allow", "local-only", "local-only", "local-only"]           # marked confidential
C6 = ["allow", "local-only", "local-only", "local-only", "block"]           # restricted
unknown = "C6"          # what data counts as when it could not be looked through
)";
}
} // namespace intertie::route
