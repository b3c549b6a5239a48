"""A checkpoint's own chat template, rendered once around markers instead of around anybody's text.

Format: Jinja as transformers' `apply_chat_template` renders it (huggingface.co/docs/transformers/chat_templating).
Departures: it is rendered when the model loads, with a marker where a text goes, so that no text ever meets the
template; the sandbox has no clock (`strftime_now`), since a score must not depend on the day; a name that is passed
but that the template does not ask for is an error and not ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from jinja2 import TemplateError, meta
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from guards.errors import ModelError
from guards.rewards.checkpoints.files import CheckpointFiles


def render_chat(
    files: CheckpointFiles,
    messages: Sequence[Mapping[str, str]],
    generation_prompt: bool,
    arguments: Mapping[str, Any],
) -> str:
    """Raises ModelError when there is no template, or when it refuses the messages or the arguments."""
    if not files.chat_template:
        raise ModelError(f"{files.folder} has no chat template; write one with `input: template` and `template`")
    sandbox = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    sandbox.filters["tojson"] = _to_json
    sandbox.globals["raise_exception"] = _raise
    try:
        unasked = set(arguments) - meta.find_undeclared_variables(sandbox.parse(files.chat_template))
        if unasked:
            raise ModelError(
                f"the chat template of {files.folder} does not ask for '{min(unasked)}'; "
                "take it out of template_arguments"
            )
        return sandbox.from_string(files.chat_template).render(
            messages=list(messages),
            add_generation_prompt=generation_prompt,
            bos_token=files.special_token("bos_token"),
            eos_token=files.special_token("eos_token"),
            pad_token=files.special_token("pad_token"),
            unk_token=files.special_token("unk_token"),
            **arguments,
        )
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise ModelError(
            f"the chat template of {files.folder} cannot be rendered ({error}); "
            "check template_arguments, or write the text with `input: template`"
        ) from error


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> NoReturn:
    raise ValueError(message)
