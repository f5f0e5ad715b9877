#pragma once
/// The OpenAI API's shapes: requests checked, responses and chunks written. No network, no model.
#include <lamina/serve/openai/answer/chat_response.hpp>
#include <lamina/serve/openai/api_error.hpp>
#include <lamina/serve/openai/request/chat/chat_messages.hpp>
#include <lamina/serve/openai/request/chat/chat_request.hpp>
#include <lamina/serve/openai/request/media.hpp>
