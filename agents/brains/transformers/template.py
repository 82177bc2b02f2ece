"""The chat template of models that bring none, and of the tiny model.

Turns are framed as ChatML; tools are told, and called, in the Hermes form that most open models know.
"""

from __future__ import annotations

TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
CALL_START = "<tool_call>"
CALL_END = "</tool_call>"
THINKING_START = "<think>"
THINKING_END = "</think>"

CHAT_TEMPLATE = """\
{%- macro turn(role, content) -%}
<|im_start|>{{ role }}
{{ content }}<|im_end|>
{% endmacro -%}
{%- macro toolbox() -%}
You can call these functions:
<tools>
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}</tools>
To call one, write its name and its arguments as JSON:
<tool_call>
{"name": "NAME", "arguments": {}}
</tool_call>
{%- endmacro -%}
{%- macro call(function) -%}
<tool_call>
{"name": {{ function.name | tojson }}, "arguments": {{ function.arguments | tojson }}}
</tool_call>
{% endmacro -%}
{%- set said = messages[0].content if messages and messages[0].role == "system" else "" -%}
{%- if tools -%}
{{ turn("system", (said + "\n\n" if said else "") + toolbox()) }}
{%- elif said -%}
{{ turn("system", said) }}
{%- endif -%}
{%- for message in messages if message.role != "system" -%}
{%- if message.role == "tool" -%}
{{ turn("tool", message.content) }}
{%- elif message.tool_calls -%}
{%- set calls -%}
{%- for one in message.tool_calls %}{{ call(one.function) }}{% endfor -%}
{%- endset -%}
{{ turn(message.role, message.content + ("\n" if message.content else "") + (calls | trim)) }}
{%- else -%}
{{ turn(message.role, message.content) }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""
