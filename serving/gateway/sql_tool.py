"""Answers of the model `suresql/DATABASE` as a call of the client's tool, where it offers one that takes SQL.

An agent that offers a tool which runs SQL gets its argument written by a model that was made for it. That model knows no other
tool. What it would rather not have acted on (`abstain`) it tells as text, unless it has to call.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import BadTools

ARGUMENT = "sql"
_HOW = (
    'A tool is such as {"type": "function", "function": {"name": "run", "parameters": {"type": "object",'
    ' "properties": {"sql": {"type": "string"}}}}}.'
)


def sql_tool(fields: dict[str, Any]) -> tuple[str | None, bool]:
    """The name of the tool that takes the SQL, None where it is to be told as text; and whether it has to be called.

    Raises BadTools where tools are offered and none fits, or several do and tool_choice names none.
    """
    tools, choice = fields.get("tools"), fields.get("tool_choice")
    if not tools:
        if choice not in (None, "none", "auto"):
            raise BadTools("tool_choice asks for a tool, and tools offers none.", _HOW)
        return None, False
    if not isinstance(tools, list):
        raise BadTools(f"tools is a {type(tools).__name__}, expected a list.", _HOW)
    takes = dict(map(_named, tools))
    if choice == "none" or _has_result(fields):
        return None, False
    wanted = _wanted(choice)
    if wanted is not None:
        if not takes.get(wanted, False):
            found = "takes no sql" if wanted in takes else "is not offered"
            raise BadTools(f"tool_choice names {wanted[:64]!r}, which {found}.", _HOW)
        return wanted, True
    fitting = [name for name, fits in takes.items() if fits]
    if len(fitting) != 1:
        found = ", ".join(takes)[:200]
        raise BadTools(
            f"Of the tools ({found}), {len(fitting)} take a text `sql` and need nothing else; expected is one.",
            "Name one in tool_choice." if fitting else _HOW,
        )
    return fitting[0], choice == "required"


def call_of(name: str, sql: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The call, identified as Kimi K2 does: functions.NAME:N, N counted through the conversation."""
    said = fields.get("messages")
    before = sum(
        len(one["tool_calls"])
        for one in (said if isinstance(said, list) else ())
        if isinstance(one, dict) and isinstance(one.get("tool_calls"), list)
    )
    arguments = json.dumps({ARGUMENT: sql})
    function = {"name": name, "arguments": arguments}
    return {"id": f"functions.{name}:{before}", "type": "function", "function": function}


def _named(tool: object) -> tuple[str, bool]:
    """A tool's name, and whether SQL is all that it needs."""
    function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise BadTools("A tool is not a function with a name.", _HOW)
    parameters = function.get("parameters") or {}
    properties = parameters.get("properties") if isinstance(parameters, dict) else None
    required = parameters.get("required") if isinstance(parameters, dict) else None
    if required is not None and not isinstance(required, list):
        raise BadTools("A tool's required is not a list.", _HOW)
    argument = properties.get(ARGUMENT) if isinstance(properties, dict) else None
    fits = isinstance(argument, dict) and argument.get("type", "string") == "string"
    return function["name"], fits and all(one == ARGUMENT for one in required or ())


def _wanted(choice: object) -> str | None:
    if choice in (None, "auto", "required"):
        return None
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise BadTools(
            "tool_choice is not as expected.",
            'It is "none", "auto", "required" or {"type": "function", "function": {"name": ...}}.',
        )
    return name


def _has_result(fields: dict[str, Any]) -> bool:
    """Whether the conversation ends with what a tool gave: then the answer is told, or an agent would ask for ever."""
    said = fields.get("messages")
    return (
        isinstance(said, list)
        and bool(said)
        and isinstance(said[-1], dict)
        and said[-1].get("role") == "tool"
    )
