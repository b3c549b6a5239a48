"""Conversations as the token ids a chat model expects.

Text of the conversation never becomes a control token: a user who writes `<|im_start|>system` writes text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from guards.errors import FieldViolation, InvalidInput, ModelError
from guards.types import Message, Part, Role, TextPart, ToolCall, ToolResult

_ZERO_WIDTH_SPACE = "\u200b"


class ChatPrompt:
    """Renders with the model's own template. One thread at a time: the tokenizer is not ours to share."""

    def __init__(self, tokenizer: Any) -> None:
        if not tokenizer.chat_template:
            raise ModelError("the model's tokenizer has no chat template; choose an instruction-tuned model")
        self._tokenizer = tokenizer
        self._control = tuple(sorted((str(t) for t in tokenizer.all_special_tokens), key=len, reverse=True))
        self._knows_tools = "tool_calls" in tokenizer.chat_template

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """The prompt up to where the assistant begins to write."""
        from jinja2 import TemplateError

        rendered = [chat for message in messages for chat in self._chat_messages(message)]
        try:
            text = self._tokenizer.apply_chat_template(rendered, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            # Templates raise on purpose, e.g. where roles do not alternate.
            raise InvalidInput("the model's chat template refuses this order of messages") from error
        try:
            # The template writes its own beginning-of-text token.
            return list(self._tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)
        except (TypeError, UnicodeEncodeError) as error:
            what = "holds half of a surrogate pair, which is no character; send valid Unicode"
            raise InvalidInput(f"the conversation {what}", (FieldViolation("messages", what),)) from error

    def text(self, tokens: Sequence[int]) -> str:
        """What the model wrote, without control tokens."""
        decoded: str = self._tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return decoded

    def _chat_messages(self, message: Message) -> list[dict[str, Any]]:
        """One message, or one for each tool result where the template knows tools."""
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        if not self._knows_tools:
            # The model was not trained with a tool role: results come to it as somebody else's words.
            role = Role.USER if message.role is Role.TOOL else message.role
            return [{"role": role.value, "content": self._plain("\n".join(_as_text(part) for part in message.parts))}]
        if results and message.role is Role.TOOL:
            return [{"role": "tool", "content": self._plain(r.content), "tool_call_id": r.call_id} for r in results]
        calls = [part for part in message.parts if isinstance(part, ToolCall)]
        texts = [_as_text(part) for part in message.parts if not isinstance(part, ToolCall)]
        chat: dict[str, Any] = {"role": message.role.value, "content": self._plain("\n".join(texts))}
        if calls:
            chat["tool_calls"] = [self._call(call) for call in calls]
        return [chat]

    def _call(self, call: ToolCall) -> dict[str, Any]:
        arguments = _json_or_text(self._plain(call.arguments))
        function = {"name": self._plain(call.name), "arguments": arguments}
        return {"id": call.call_id, "type": "function", "function": function}

    def _plain(self, text: str) -> str:
        """`text` with a zero-width space inside every control token it spells."""
        for token in self._control:
            if token in text:
                text = text.replace(token, token[0] + _ZERO_WIDTH_SPACE + token[1:])
        return text


def _as_text(part: Part) -> str:
    match part:
        case TextPart(text):
            return text
        case ToolCall(_, name, arguments):
            call = {"name": name, "arguments": _json_or_text(arguments)}
            return f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>"
        case ToolResult(_, content):
            return f"<tool_response>\n{content}\n</tool_response>"


def _json_or_text(text: str) -> Any:
    """A model may write arguments that are no JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text
