"""The tools and the cluster's things as an MCP server: what each request does, on whichever transport it comes.

A client that can ask its person (elicitation) is made to: before 2026-07-28 by a request of ours, since then by an
answer that asks for input (modelcontextprotocol.io, "Multi Round-Trip Requests"). Any other gets a token to confirm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from mcp import MCPError, types
from mcp.server import Server, ServerRequestContext
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.types import INVALID_PARAMS
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from assistant.doors import mcp_prompts, mcp_things, mcp_words
from assistant.doors.mcp_desk import Answer, Desk, Waiting
from assistant.errors import AssistantError, RequestRefused
from tools import BY_NAME, TOOLS
from tools.base import Call, WriteTool
from tools.slurm.errors import SlurmError

AT_ONCE = 4
"""Calls that are carried out side by side; a flood waits, and Slurm's controller is spared."""
_ROUNDS = 3
_KEY = "approval"
_Given = TypeVar("_Given")
Context = ServerRequestContext[Any, Any]


@dataclass(frozen=True)
class Handlers:
    desk: Desk
    limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(AT_ONCE))

    async def list_tools(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        two_steps = not _can_ask(ctx)
        return types.ListToolsResult(tools=[mcp_words.described(tool, two_steps=two_steps) for tool in TOOLS])

    async def call_tool(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        if params.name not in BY_NAME:
            raise MCPError(INVALID_PARAMS, f"there is no tool {params.name[:100]!r}; valid: {', '.join(BY_NAME)}")
        arguments = dict(params.arguments or {})
        token = arguments.pop("confirm", None) if isinstance(BY_NAME[params.name], WriteTool) else None
        call = Call(params.name, arguments)
        try:
            if params.request_state is not None:
                answer = await self._decided(params, call, _client(ctx))
            elif token is not None:
                answer = await self._confirmed(ctx, token, call)
            else:
                answer = await self._thread(self.desk.begin, call, _client(ctx))
            return await self._reply(ctx, call, answer)
        except (AssistantError, SlurmError) as error:
            return mcp_words.refused(params.name, error)

    async def list_resources(
        self, ctx: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=mcp_things.listed())

    async def list_templates(
        self, ctx: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=mcp_things.templates())

    async def read_resource(self, ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        thing, call = mcp_things.called(params.uri)
        try:
            answer = await self._thread(self.desk.begin, call, _client(ctx))
        except (AssistantError, SlurmError) as error:
            raise mcp_things.unreadable(params.uri, error.message) from error
        return mcp_things.contents(params.uri, thing, answer.done.result)

    async def list_prompts(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=mcp_prompts.listed())

    async def get_prompt(self, ctx: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        return mcp_prompts.filled(params.name, dict(params.arguments or {}))

    async def _confirmed(self, ctx: Context, token: Any, call: Call) -> Answer:
        if not isinstance(token, str):
            raise RequestRefused(f"confirm is {type(token).__name__}, not a text", "give the token of the preview")
        if _can_ask(ctx):
            raise RequestRefused("this client asks its person itself: no token counts here", "call without `confirm`")
        return await self._thread(self.desk.redeem, token, call, f"confirm token, {_client(ctx)}")

    async def _reply(
        self, ctx: Context, call: Call, answer: Answer
    ) -> types.CallToolResult | types.InputRequiredResult:
        """The result, once the person was asked where the client can; a world that changed meanwhile asks anew."""
        for _ in range(_ROUNDS):
            waiting = answer.waiting
            if waiting is None or waiting.preview.two_people:
                break
            if not _can_ask(ctx):
                return mcp_words.result(answer, self.desk.token(waiting, call))
            if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
                asked = types.ElicitRequest(params=_form(waiting))
                return types.InputRequiredResult(input_requests={_KEY: asked}, request_state=waiting.approval)
            given = await _ask_now(ctx, waiting)
            answer = await self._settle(waiting.approval, call, given, _client(ctx))
        return mcp_words.result(answer)

    async def _decided(self, params: types.CallToolRequestParams, call: Call, client: str) -> Answer:
        """The second round of a client since 2026-07-28; its state was sealed by us and holds the approval."""
        given = (params.input_responses or {}).get(_KEY)
        decided = given if isinstance(given, types.ElicitResult) else types.ElicitResult(action="cancel")
        return await self._settle(params.request_state or "", call, decided, client)

    async def _settle(self, approval: str, call: Call, given: types.ElicitResult, client: str) -> Answer:
        if given.action == "accept" and (given.content or {}).get("approve") is True:
            return await self._thread(self.desk.confirm, approval, call, f"asked by {client}")
        why = "the question was dismissed" if given.action == "cancel" else "the person said no"
        return await self._thread(self.desk.deny, approval, f"{why}, asked by {client}")

    async def _thread(self, work: Callable[..., _Given], *given: Any) -> _Given:
        """Off the event loop; a caller who goes away does not stop what was begun, and the journal has its outcome."""
        return await to_thread.run_sync(partial(work, *given), limiter=self.limiter)


def build(desk: Desk, minutes: float) -> Server[Any]:
    """``minutes``: how long an approval is good for, by the site's policy."""
    handlers = Handlers(desk)
    server: Server[Any] = Server(
        "slurm-assistant",
        version=version("slurm-assistant"),
        title="Slurm",
        instructions=mcp_words.INSTRUCTIONS,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_templates,
        on_read_resource=handlers.read_resource,
        on_list_prompts=handlers.list_prompts,
        on_get_prompt=handlers.get_prompt,
    )
    security = RequestStateSecurity(keys=[desk.key], ttl=60 * minutes)
    server.middleware.append(RequestStateBoundary(security, default_audience=server.name))
    return server


def _can_ask(ctx: Context) -> bool:
    """Whether this client can put a form before its person (a bare ``elicitation: {}`` is forms: 2025-06-18)."""
    able = ctx.session.client_capabilities
    if able is None or able.elicitation is None:
        return False
    if able.elicitation.form is None and able.elicitation.url is not None:
        return False
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS or ctx.session.can_send_request


def _form(waiting: Waiting) -> types.ElicitRequestFormParams:
    return types.ElicitRequestFormParams(message=mcp_words.question(waiting), requested_schema=mcp_words.APPROVE_FORM)


async def _ask_now(ctx: Context, waiting: Waiting) -> types.ElicitResult:
    """The person's answer; a client that fails to ask, or is silent until the approval expires, has not approved."""
    left = (datetime.fromisoformat(waiting.expires) - datetime.now(UTC)).total_seconds()
    form = _form(waiting)
    with anyio.move_on_after(max(left, 0)):
        try:
            return await ctx.session.elicit_form(form.message, form.requested_schema, ctx.request_id)
        except (MCPError, ValueError):  # it refused to ask, or answered something else than the protocol has
            pass
    return types.ElicitResult(action="cancel")


def _client(ctx: Context) -> str:
    known = ctx.session.client_params
    return f"{known.client_info.name} {known.client_info.version}".strip()[:100] if known else "unknown"
