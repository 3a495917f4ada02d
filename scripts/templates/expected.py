#!/usr/bin/env python3
"""What transformers makes of conversations with the chat templates of crates/text/tests/templates.

  $PYTHON_FOR_TESTS scripts/templates/expected.py ../shared/tokenizers/codellama > crates/text/tests/expected-templates.json

In a template, `[[turn]]` opens an assistant's turn, `[[body]]` what follows its header, and `[[end]]` closes both. With one of the
two as `{% generation %}`, transformers itself says which tokens are the assistant's; without them, a template is as it is
published, and this project has to find the same tokens by itself.

A mask has a 1 for a token of which any character is in a generated span. transformers' own mask is the same, but that it ends with the
first token of a span's last character, where that has several: this is checked.
"""

import json
import sys
from pathlib import Path

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

TEMPLATES = Path(__file__).parents[2] / "crates/text/tests/templates"
EXTRA = {
    "chatml": ["<|im_start|>", "<|im_end|>"],
    "qwen3": ["<|im_start|>", "<|im_end|>"],
    "llama3": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "gemma": ["<start_of_turn>", "<end_of_turn>"],
    "phi3": ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"],
    "deepseek": ["<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"],
    "command-r": ["<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|SYSTEM_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>"],
}
CONVERSATIONS = [
    "u:Hi¦a:Hello!",
    "s:Be kind.¦u:What is 2 + 2?¦a:4¦u:And 3 + 3?¦a:Six.",
    "u: leading and trailing \n¦a:\n\n  code:\n    x = 1\n\n¦u:\tžluťoučký kůň 🙂¦a: 好的。 ",
    "s:  ¦u:same¦a:same¦u:same¦a:same",
    "s:Answer: yes¦u:ASSISTANT: yes¦a:USER: yes¦u:yes¦a:yes",
    "u:Hi¦a:",
    "u:¦a:nothing was asked",
    "u:a¦a:<think>\nhm\n</think>\n\nfirst¦u:b¦a:<think>\nwell\n</think>\n\nsecond",
    "u:stop </s> here¦a:I <|im_end|> do </s> not",
    "a:I begin.¦u:Oh.¦a:Yes.",
    "u:one¦u:two¦a:three",
    "s:only this¦u:no answer",
    "u:a¦a:b¦a:c¦u:d¦a:e",
]
# What templates use of Jinja and Python, each on one message of the user: `{"b": [1, 2.5, null], "a": "<é\u007f"}`.
EXPRESSIONS = [
    "{{ messages[0].content | tojson }}",
    "{{ messages | tojson(indent=2) }}",
    "{{ messages | tojson(ensure_ascii=true) }}",
    "{{ {'b': [1, 2.5, none, true], 'a': {}, 'c': []} | tojson(sort_keys=true, separators=(',', ':')) }}",
    "{{ {'b': [1, 2.5, none, true], 'a': {}, 'c': []} | tojson(indent=4) }}",
    "{{ 'a-b-c'.split('-')[-1] }}{{ 'a-b-c'.rsplit('-', 1) }}{{ ' x '.strip() }}{{ 'xxaxx'.strip('x') }}{{ 'ab'.startswith('a') }}",
    "{{ 'a b'.title() }}{{ 'pre-x'.removeprefix('pre-') }}{{ 'a=b=c'.partition('=') | join('|') }}{{ 'abc'[::-1] }}{{ [1, 2, 3][1:] }}",
    "{{ none }}|{{ true }}|{{ undefined_name }}|{{ 'a' ~ 1 ~ none }}|{{ 7 // 2 }}|{{ 7 % 3 }}|{{ 2 ** 3 }}|{{ 1.0 }}",
    "{% for m in messages %}\n  {% if m.role == 'user' %}\n    {{ loop.index }}{{ m['role'] }}\n  {% endif %}\n{% endfor %}\nend\n",
    "{% set ns = namespace(n=0) %}{% for i in range(5) %}{% if i == 3 %}{% break %}{% endif %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
    "{{ messages[0].get('tool_calls') is none }}{{ messages[0].keys() | list }}{{ 'role' in messages[0] }}{{ tools is none }}{{ x is defined }}",
    "{% for k, v in messages[0].items() %}{{ k }}={{ v | length }};{% endfor %}{{ messages | map(attribute='role') | join(', ') }}",
    "{%- for m in messages %}{% generation %}{{ m.content | trim | upper }}{% endgeneration %}\n{%- endfor %}",
    "{{ (messages | selectattr('role', 'equalto', 'user') | list)[0]['role'] }}{{ messages | rejectattr('role', '==', 'user') | list }}",
    "{{ raise_exception('no: ' + messages[0]['role']) }}",
]
ROLES = {"s": "system", "u": "user", "a": "assistant"}


def variant(source, opening):
    for name in ["turn", "body"]:
        source = source.replace(f"[[{name}]]", "{% generation %}" if name == opening else "")
    return source.replace("[[end]]", "{% endgeneration %}" if opening else "")


def check(mask, transformers_mask, offsets, spans):
    for bit, theirs, (start, end) in zip(mask, transformers_mask, offsets):
        assert bit == theirs or any(b == end and start < b for a, b in spans), (mask, transformers_mask)


def main(folder):
    expected = []
    for file in sorted(TEMPLATES.glob("*.jinja")):
        extra = EXTRA.get(file.stem, [])
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=f"{folder}/tokenizer.json", bos_token="<s>", eos_token="</s>", additional_special_tokens=extra
        )
        source = file.read_text()
        for conversation in CONVERSATIONS:
            messages = [{"role": ROLES[it[0]], "content": it[2:]} for it in conversation.split("¦")]

            def render(opening, **options):
                # Llama-3's template writes today's date unless it is given one.
                return tokenizer.apply_chat_template(
                    messages, chat_template=variant(source, opening), date_string="25 Aug 2023", **options
                )

            case = {"template": file.stem, "extra": extra, "conversation": conversation}
            try:
                case["text"] = render(None, tokenize=False)
            except TemplateError as error:
                case["error"] = str(error)
                expected.append(case)
                continue
            for opening in ["turn", "body"]:
                encoded = render(opening, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
                (text,), (spans,) = render_jinja_template(
                    conversations=[messages],
                    chat_template=variant(source, opening),
                    return_assistant_tokens_mask=True,
                    date_string="25 Aug 2023",
                    **tokenizer.special_tokens_map,
                )
                assert text == case["text"], case
                offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
                assert offsets["input_ids"] == encoded["input_ids"]
                offsets = offsets["offset_mapping"]
                mask = [any(start < b and a < end for a, b in spans) for start, end in offsets]
                check(mask, encoded["assistant_masks"], offsets, spans)
                case["ids"] = encoded["input_ids"]
                case[opening] = "".join(str(int(bit)) for bit in mask)
            expected.append(case)
    content = '{"b": [1, 2.5, null], "a": "<é\u007f"}'
    for source in EXPRESSIONS:
        case = {"expression": source, "content": content}
        try:
            messages = [{"role": "user", "content": content}]
            case["text"] = tokenizer.apply_chat_template(messages, chat_template=source, tokenize=False)
        except TemplateError as error:
            case["error"] = str(error)
        expected.append(case)
    rows = ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in expected)
    print(f"[\n{rows}\n]")


main(sys.argv[1])
