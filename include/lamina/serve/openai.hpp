#pragma once
/// The OpenAI API's shapes: requests checked, responses and chunks written. No network, no model.
#include <lamina/serve/api_error.hpp>
#include <lamina/serve/chat_messages.hpp>
#include <lamina/serve/chat_request.hpp>
#include <lamina/serve/chat_response.hpp>
#include <lamina/serve/media.hpp>
