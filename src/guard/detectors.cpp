// THE registry of detectors, read top to bottom. A new one is a function in its family's file and a row here; its
// marked texts and near misses go to tests/golden/guard. Names are stable: receipts and policies use them.
#include <array>

#include "guard/detect.hpp"

namespace intertie::guard {
namespace {
using enum DataClass;
constexpr std::array kDetectors = std::to_array<Detector>({
    {"EMAIL", C2, find_email},
    {"PAYMENT_CARD", C3, find_payment_card},
    {"PRIVATE_KEY", C4, find_private_key},
    {"OPENAI_KEY", C4, find_openai_key},
    {"ANTHROPIC_KEY", C4, find_anthropic_key},
    {"AWS_KEY", C4, find_aws_key},
    {"GITHUB_TOKEN", C4, find_github_token},
    {"GITLAB_TOKEN", C4, find_gitlab_token},
    {"SLACK_TOKEN", C4, find_slack_token},
    {"STRIPE_KEY", C4, find_stripe_key},
    {"GOOGLE_KEY", C4, find_google_key},
    {"GROQ_KEY", C4, find_groq_key},
    {"XAI_KEY", C4, find_xai_key},
    {"HUGGINGFACE_TOKEN", C4, find_huggingface_token},
    {"NPM_TOKEN", C4, find_npm_token},
    {"SENDGRID_KEY", C4, find_sendgrid_key},
    {"TWILIO_KEY", C4, find_twilio_key},
    {"TELEGRAM_TOKEN", C4, find_telegram_token},
    {"JWT", C4, find_jwt},
});
} // namespace

std::span<const Detector> detectors() { return kDetectors; }
} // namespace intertie::guard
