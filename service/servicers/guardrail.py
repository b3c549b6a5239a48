"""GuardrailService: decode, call the pipeline or the explainer, encode."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from guards.errors import FieldViolation, InvalidInput
from service.backends.base import SamplingParameters
from service.config import LimitSettings
from service.convert import MAX_BATCH, check_call, explain_call, generate_call, parse
from service.explaining.explainer import Explainer
from service.explaining.replies import explain_response
from service.interceptors import Failures, Method, StreamMethod
from service.pipeline import Pipeline
from service.replies import check_response, generate_response
from wardgate.v1 import guardrail_pb2 as guardrail
from wardgate.v1 import status_pb2 as statuses


class GuardrailServicer:
    """Methods take the request's bytes and a deadline in `time.monotonic()` seconds."""

    service = guardrail.DESCRIPTOR.services_by_name["GuardrailService"].full_name
    admin_methods: frozenset[str] = frozenset()

    def __init__(
        self,
        pipeline: Pipeline,
        limits: LimitSettings,
        sampling: SamplingParameters,
        max_message_bytes: int,
        failures: Failures,
        explainer: Explainer,
        max_budget_s: float,
    ) -> None:
        """`max_budget_s`: most that a caller may spend on an explanation."""
        self._pipeline = pipeline
        self._limits = limits
        self._sampling = sampling
        self._max_message_bytes = max_message_bytes
        self._failures = failures
        self._explainer = explainer
        self._max_budget_s = max_budget_s

    @property
    def methods(self) -> Mapping[str, Method]:
        return {
            "Check": self.check,
            "BatchCheck": self.batch_check,
            "Generate": self.generate,
            "Explain": self.explain,
        }

    @property
    def stream_methods(self) -> Mapping[str, StreamMethod]:
        return {}

    async def check(self, raw: bytes, deadline: float) -> guardrail.CheckResponse:
        return await self._check(parse(guardrail.CheckRequest, raw, self._max_message_bytes), deadline)

    async def batch_check(self, raw: bytes, deadline: float) -> guardrail.BatchCheckResponse:
        request = parse(guardrail.BatchCheckRequest, raw, self._max_message_bytes)
        if not 1 <= len(request.requests) <= MAX_BATCH:
            fault = FieldViolation("requests", f"1 to {MAX_BATCH} are needed")
            raise InvalidInput("invalid request: requests", [fault])
        items = await asyncio.gather(*(self._item(item, deadline) for item in request.requests))
        return guardrail.BatchCheckResponse(items=items)

    async def generate(self, raw: bytes, deadline: float) -> guardrail.GenerateResponse:
        request = parse(guardrail.GenerateRequest, raw, self._max_message_bytes)
        call = generate_call(request, self._limits, self._sampling, deadline)
        return generate_response(await self._pipeline.generate(call), call.want_scores)

    async def explain(self, raw: bytes, deadline: float) -> guardrail.ExplainResponse:
        request = parse(guardrail.ExplainRequest, raw, self._max_message_bytes)
        call = explain_call(request, self._limits, self._max_budget_s, deadline)
        return explain_response(call.check.request_id, await self._explainer.explain(call))

    async def _check(self, request: guardrail.CheckRequest, deadline: float) -> guardrail.CheckResponse:
        call = check_call(request, self._limits, deadline)
        return check_response(await self._pipeline.check(call), call.want_scores)

    async def _item(self, request: guardrail.CheckRequest, deadline: float) -> guardrail.BatchCheckItem:
        """One item's verdict or its own error: items do not fail each other."""
        try:
            return guardrail.BatchCheckItem(response=await self._check(request, deadline))
        except Exception as error:
            status = self._failures.status("BatchCheck", error)
            return guardrail.BatchCheckItem(error=statuses.ItemStatus.FromString(status.SerializeToString()))
