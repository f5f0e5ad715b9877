#!/usr/bin/env python3
"""Small templates, each with one construct of Jinja2, and whole chat templates, rendered as transformers renders them.

    python3 tests/reference/jinja_golden.py [FOLDER OF QWEN3'S TOKENIZER]

Writes tests/golden/text/jinja.json: "constructs" are [template, variables besides COMMON, text or null for an error];
"thinking" is a template of the Thinking kind with its prompts; "qwen3" are prompts of the template in the folder's
tokenizer_config.json, which is not copied. Needs `transformers`.
"""
import json
import pathlib
import sys

from transformers.utils.chat_template_utils import _compile_jinja_template

from chat_template import CONVERSATIONS, EMPTY_TOOL, WEATHER
from released_template import released_template

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden" / "text" / "jinja.json"

COMMON = {
    "s": "Hello, World", "empty": "", "pad": "  \n x y \t", "u": "Zürich 都市 😀", "html": "<a href='x'>&\"</a>",
    "think": "<think>\nwhy\n</think>\n\nso", "n": 7, "neg": -3, "zero": 0, "f": 2.5, "big": 1e20, "small": 1e-7,
    "whole": 3.0, "yes": True, "no": False, "nothing": None, "list": [3, 1, 2], "words": ["b", "A", "c", "a"],
    "mixed": [1, "two", None, True, 2.5, {"k": [1]}], "nested": [[1, 2], [3, [4]]], "none_list": [],
    "d": {"a": 1, "b": "two", "c": None, "items": "shadowed"}, "empty_d": {},
    "people": [{"name": "Bo", "age": 30, "tags": ["x"]}, {"name": "al", "age": 25, "tags": []},
               {"name": "Cy", "age": 30, "address": {"city": "Oslo"}}],
    "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": [{"type": "text", "text": "hi"},
                 {"type": "image"}]}, {"role": "assistant", "content": "ok", "tool_calls": [{"function": {
                 "name": "f", "arguments": {"x": 1, "y": "é"}}}]}, {"role": "tool", "content": "r"}],
    "add_generation_prompt": True, "huge": 18446744073709551615}

TOOLS = [WEATHER, EMPTY_TOOL]
EXPRESSIONS = r"""
1
-1
+n
1_000
0
1.5
1e3
1.5e-3
'a'
"a"
'a' "b" 'c'
'a\nb\tc\\d\'e\"f'
'\x41\u00e9\U0001F600\101\q'
'ünï'
true
True
false
False
none
None
[]
[1, 'a', none, true, 1.0]
[1, 2,]
()
(1,)
(1, 'b')
(1)
{}
{'a': 1, 'b': [1, 2], 3: 'x'}
{'a': 1, 'a': 2}
{1: 'a', true: 'b'}
1, 2
n + 1
n - 10
n * 2.5
n / 2
n // 2
-7 // 2
n % 4
-7 % 4
7 % -4
7.5 % 2
-7.5 // 2
-7.5 % 2
2 ** 10
2 ** -1
2 ** 0.5
2 ** 3 ** 2
-2 ** 2
1 / 3
4 / 2
1 / 0
1 // 0
1 % 0
10 * (2 + 3)
1 + 2 * 3 - 4
'a' + 'b'
'a' ~ 1 ~ none ~ true ~ 2.0
1 ~ 2 + 3
'a' + 1
1 + 'a'
'ab' * 3
3 * 'ab'
'ab' * -1
[1] * 3
[1] + [2, 3]
(1,) + (2,)
[1] + (2,)
true + true
n > 3
n >= 7
n < 3
n <= 7
n == 7
n == 7.0
n != 7
1 == true
0 == false
'a' == 'a'
'a' < 'b'
'a' < 1
[1, 2] < [1, 3]
[1, 2] == [1, 2]
[1] == (1,)
{'a': 1} == {'a': 1.0}
none == none
none == false
missing == none
missing == missing
1 < n < 10
1 < n > 10
1 == 1 == 1
'Wo' in s
'x' in s
'' in s
1 in s
3 in list
3 not in list
not 3 in list
'a' in d
'z' in d
none in mixed
'x' in missing
1 in n
n in range(8)
true and false
yes and n
no or 'x'
'' or none
n and s and list
not yes
not none
not not n
no or not no and yes
'a' if yes
'a' if no
'a' if no else 'b'
'a' if no else 'b' if no else 'c'
('a' if no) is defined
missing
missing.x
missing['x']
missing()
missing + 1
missing ~ 'x'
missing | length
missing | upper
missing | list
missing | tojson
missing is sequence
d.a
d['a']
d.b
d.zzz
d.zzz.y
d['zzz'] is defined
d['items']
d.get('a')
d.get('q')
d.get('q', 'dflt')
d.keys() | list
d.values() | list
d.items() | list
d.items() | length
d.update({'x': 1})
d.__class__
s.__class__
list.append(4)
list[0]
list[-1]
list[10]
list[10] is defined
list.0
list['x'] is defined
s[0]
s[-1]
s[99] is defined
u[7]
u[-1]
list[1:]
list[:1]
list[:-1]
list[::-1]
list[::2]
list[5:]
list[-2:]
list[1:1]
list[n:]
list[::0]
s[:5]
s[7:]
s[::-1]
s[-5:-2]
s[::3]
u[:6]
u[7:9]
u[::-1]
(1, 2, 3)[1:]
messages[0].role
messages[1].content[0].text
messages[-1]['role']
messages[2].tool_calls[0].function.arguments.y
people[2].address.city
people[0].address.city
none.x is defined
s.split(', ')
s.split()
pad.split()
'a,b,c'.split(',', 1)
'a,b,c'.rsplit(',', 1)
' a  b c '.split(None, 1)
'a,b,c'.split(',', maxsplit=1)
s.split('')
think.split('</think>')[-1].lstrip('\n')
think.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n')
pad.strip()
pad.lstrip()
pad.rstrip()
'xxabxx'.strip('x')
'xyabyx'.strip('xy')
'xxabxx'.lstrip('x')
'xxabxx'.rstrip('x')
'\u3000a\u00a0'.strip()
s.startswith('Hell')
s.startswith(('x', 'He'))
s.endswith('ld')
s.endswith('x')
s.replace('l', 'L')
s.replace('l', 'L', 2)
s.replace('', '-')
''.replace('', '-')
s.upper()
s.lower()
u.upper()
u.lower()
'hello world-wide'.title()
'hELLO wORLD'.capitalize()
', '.join(words)
''.join([])
', '.join([1])
s.find('o')
s.rfind('o')
s.find('z')
u.find('都')
s.count('l')
s.count('')
'12'.isdigit()
'1a'.isdigit()
''.isdigit()
'ab'.isalpha()
'ab1'.isalnum()
' \n'.isspace()
'AB1'.isupper()
'ab'.islower()
s.removeprefix('Hello')
s.removesuffix('World')
'a\nb\r\nc'.splitlines()
'a\nb\n'.splitlines(true)
s.nope()
s.nope is defined
list.index(1)
list.index(9)
list.count(3)
s | upper
s | lower
s | title
'foo (bar) <baz> x-y' | title
'hELLO' | capitalize
pad | trim
'xxaxx' | trim('x')
s | length
u | length
list | length
d | length
n | length
none_list | count
list | first
list | last
none_list | first
none_list | first is defined
s | first
d | first
list | join
list | join(', ')
people | join(', ', attribute='name')
list | join(d='-')
s | join('.')
missing | default('x')
missing | default
none | default('x')
none | default('x', true)
'' | default('x', boolean=true)
s | d('x')
s | replace('o', '0')
s | replace('o', '0', 1)
s | list
d | list
list | reverse | list
s | reverse
u | reverse
list | sort
list | sort(reverse=true)
words | sort
words | sort(case_sensitive=true)
people | sort(attribute='age') | map(attribute='name') | list
people | sort(attribute='age,name') | map(attribute='name') | join
mixed | sort
words | unique | list
[1, 1.0, 2, 1] | unique | list
words | unique(case_sensitive=true) | list
people | unique(attribute='age') | map(attribute='name') | list
d | dictsort
{'b': 1, 'A': 2} | dictsort
{'b': 1, 'A': 2} | dictsort(true)
{'b': 1, 'a': 2} | dictsort(by='value')
{'b': 1, 'a': 2} | dictsort(reverse=true)
d | items | list
missing | items | list
list | sum
people | sum(attribute='age')
[[1], [2]] | sum(start=[])
list | min
list | max
words | min
words | max
none_list | max is defined
people | max(attribute='age')
list | map('string') | list
words | map('upper') | list
words | map('replace', 'b', 'BB') | join
people | map(attribute='name') | list
people | map(attribute='zzz') | list
people | map(attribute='zzz', default='-') | list
people | map(attribute='address.city', default='?') | list
nested | map(attribute=0) | list
nested | map('first') | list
list | select('odd') | list
list | select('gt', 1) | list
list | select | list
[0, 1, '', 'a'] | select | list
[0, 1, '', 'a'] | reject | list
list | reject('even') | list
words | select('in', ['a', 'b']) | list
people | selectattr('age', 'equalto', 30) | map(attribute='name') | list
people | selectattr('address') | list | length
people | rejectattr('address') | list | length
people | selectattr('address', 'defined') | map(attribute='name') | list
messages | selectattr('role', 'equalto', 'user') | list | length
messages | rejectattr('role', 'in', ['system', 'tool']) | map(attribute='role') | join(',')
(list | select('gt', 100)) is defined
'y' if (list | select('gt', 100)) else 'n'
list | map('string') | length
list | map('string') | first
(list | map('string'))[0]
n | string
f | string
none | string
d | string
'42' | int
'42.9' | int
'x' | int
'x' | int(default=5)
'x' | int(-1)
' 12 ' | int
'1_000' | int
'ff' | int(base=16)
f | int
none | int
yes | int
'2.5' | float
'x' | float
'x' | float(1.5)
n | float
'1e3' | float
neg | abs
f | abs
'x' | abs
2.5 | round
3.5 | round
2.675 | round(2)
2.61 | round(1, 'ceil')
2.69 | round(1, 'floor')
n | round
'a\nb\n\nc' | indent
'a\nb' | indent(2)
'a\nb' | indent(2, true)
'a\nb\n\nc' | indent(2, blank=true)
'a\nb' | indent('> ')
'a\nb' | indent(width=1, first=true)
html | safe
s | attr('upper') is callable
d | attr('a') is defined
d | tojson
mixed | tojson
u | tojson
u | tojson(ensure_ascii=true)
html | tojson
'\x00\x1f\x7f\n' | tojson
'\x7f\x80' | tojson(ensure_ascii=true)
d | tojson(indent=2)
nested | tojson(indent=1)
[] | tojson(indent=2)
{} | tojson(indent=2)
{'b': 1, 'a': 2} | tojson(sort_keys=true)
d | tojson(separators=(',', ':'))
d | tojson(indent=2, separators=(',', ': '))
[1] | tojson(indent='--')
[1] | tojson(indent=0)
{1: 'a', none: 2, true: 3, 1.5: 4} | tojson
(1, 2) | tojson
[big, small, whole, 0.1, 1e16, 123456789.123] | tojson
huge | tojson
huge
range(3) | tojson
messages[2].tool_calls[0].function.arguments | tojson
big
small
whole
0.1 + 0.2
1e16
1e15
-0.0
mixed
u
[u, "it's", 'say "x"', "both ' and \"", 'a\\b\n\t\x01\u200b']
{'k': 'v', 'n': none}
nested
n is defined
missing is defined
missing is undefined
n is not defined
none is none
n is none
n is not none
s is string
n is string
d is mapping
list is mapping
list is iterable
s is iterable
n is iterable
list is sequence
s is sequence
d is sequence
n is sequence
n is number
yes is number
s is number
n is integer
yes is integer
f is integer
f is float
n is float
yes is boolean
n is boolean
yes is true
n is true
no is false
zero is false
n is odd
n is even
4 is even
f is odd
s is odd
10 is divisibleby 5
10 is divisibleby(3)
n is eq 7
n is equalto(7)
n is ne 7
n is lt 8
n is le 7
n is gt 7
n is ge 7
n is greaterthan 6
n is lessthan 6
n is in [7, 8]
n is in([1])
none is sameas none
yes is sameas true
n is sameas(7)
'AB' is upper
'aB' is lower
'12' is upper
range is callable
s is callable
n is defined and n is number
n is defined or missing.x
n is not string and yes
not n is string
-n is number
n is nope
s | nope
range(5) | list
range(2, 5) | list
range(0, 10, 3) | list
range(5, 0, -2) | list
range(0) | list
range(3)[1]
range(3)[-1]
range(3) | length
range()
range(1, 2, 0)
range(10 ** 9)
dict(a=1, b=2)
dict({'a': 1}, b=2)
dict([('a', 1)])
dict()
namespace(a=1).a
namespace({'a': 1}).a
namespace(a=1).b is defined
namespace(_a=1).x
raise_exception('stop')
strftime_now('%%')
strftime_now('%Y') | length
nope(1)
s(1)
loop
s|upper|lower|title
(s ~ '!')|upper
s ~ '!'|upper
-1|abs
(-1)|abs
- 1|abs
s.upper()|lower
[1, 2][0] + 1
{'a': {'b': [1, {'c': 'deep'}]}}.a.b[1].c
(1 if yes else 2) + 1
'%s' | length
s is string | string
[x for x in list]
lambda
1 +
(1
[1
{1
a b
'unclosed
s.
s[
s | 
is defined
1 is
@
n!
1.
1..x
01
"""

STATEMENTS = r"""
plain
{{ s }}
{{s}}
a {{- s -}} b
a {{ s }}  b
a {{+ s }} b
{% if yes %}a{% endif %}
{% if no %}a{% endif %}
{% if no %}a{% else %}b{% endif %}
{% if no %}a{% elif n == 7 %}b{% else %}c{% endif %}
{% if no %}a{% elif no %}b{% elif yes %}c{% else %}d{% endif %}
{% if 1, 2 %}a{% endif %}
{% if missing %}a{% else %}b{% endif %}
{% if yes %}@  a@{% endif %}@
x@  {% if yes %}@a@  {% endif %}@b
x@  {%- if yes -%}  @  a  @  {%- endif -%}  @b
x@  {%+ if yes %}a{% endif +%}@b
{% if yes +%}@a{% endif %}
@{{ s }}@
{{ s }}@@
@@{{ s }}
{# comment #}a
a@  {# comment #}@b
a  {#- comment -#}  b
a {#+ c +#}@b
{# {{ s }} {% if %} #}x
{#-#}x
{# unclosed
{% raw %}{{ s }}{% x %}{# c #}{% endraw %}
a@  {% raw %}@ {{ x }} @{% endraw %}@b
a {%- raw -%} x {%- endraw -%} b
{% raw %}unclosed
a@{% raw -%}  x{% endraw %}
{% for x in list %}{{ x }},{% endfor %}
{% for x in none_list %}a{% else %}empty{% endfor %}
{% for x in list %}a{% else %}empty{% endfor %}
{% for x in missing %}a{% else %}e{% endfor %}
{% for x in n %}a{% endfor %}
{% for c in u %}[{{ c }}]{% endfor %}
{% for k in d %}{{ k }}{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for k, v in d | items %}{{ k }}={{ v }};{% endfor %}
{% for k, v in d | dictsort %}{{ k }}={{ v }};{% endfor %}
{% for a, b in nested %}{{ a }}-{{ b }};{% endfor %}
{% for a, b in list %}x{% endfor %}
{% for (a, b) in [(1, 2)] %}{{ a }}{{ b }}{% endfor %}
{% for a, in [[1], [2]] %}{{ a }}{% endfor %}
{% for x in 1, 2, 3 %}{{ x }}{% endfor %}
{% for x in list if x > 1 %}{{ x }}:{{ loop.index }}/{{ loop.length }} {% endfor %}
{% for x in list if x > 9 %}{{ x }}{% else %}none{% endfor %}
{% for x in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}
{% for x in list %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }};{% endfor %}
{% for x in list %}{{ loop.previtem is defined }}{% endfor %}
{% for x in list %}{{ loop.cycle('a', 'b') }}{% endfor %}
{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }}{% endfor %}
{% for x in list %}{{ loop.nope }}{% endfor %}
{% for x in list %}{% for y in words %}{{ loop.index }}{{ loop.depth }}{% endfor %}|{{ loop.index }}{% endfor %}
{% for x in list %}{% set l = loop %}{% for y in 'ab' %}{{ l.index }}{{ y }}{% endfor %}{% endfor %}
{% for x in list %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for x in list %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}
{% for x in list %}{% for y in list %}{% if y == 1 %}{% break %}{% endif %}{{ y }}{% endfor %}{{ x }}{% endfor %}
{% for x in list %}{% break %}{% else %}e{% endfor %}z
{% for x in list %}{% continue %}{% else %}e{% endfor %}z
{% break %}
{% if yes %}{% continue %}{% endif %}
{% for x in list %}{% endfor %}{{ x }}
{% for n in list %}{% endfor %}{{ n }}
{% set x = 1 %}{% for y in list %}{% set x = y %}{% endfor %}{{ x }}
{% set x = 1 %}{% for y in list %}{{ x }}{% set x = x + y %}{{ x }};{% endfor %}{{ x }}
{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}
{% if yes %}{% set x = 2 %}{% endif %}{{ x }}
{% set ns = namespace(v=0) %}{% for y in list %}{% set ns.v = ns.v + y %}{% endfor %}{{ ns.v }}
{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns.b }}
{% set ns = namespace() %}{% set ns._a = 1 %}
{% set d.a = 5 %}
{% set nope.a = 5 %}
{% set ns = namespace(found=false) %}{% for m in messages %}{% if m.role == 'tool' %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}
{% set x, y = 1, 2 %}{{ x }}{{ y }}
{% set x, y = 'ab' %}{{ y }}{{ x }}
{% set x, y = 1, 2, 3 %}
{% set x = 1, 2 %}{{ x }}
{% set true = 1 %}
{% set x %}a {{ n }} b{% endset %}[{{ x }}]
{% set x | upper %}a {{ s }}{% endset %}{{ x }}
{% set x | trim | upper %} a {% endset %}[{{ x }}]
{% set x %}{% set y = 1 %}{% endset %}{{ y }}
{% set messages = messages[1:] %}{{ messages | length }}
{% set s = s ~ '!' %}{{ s }}
{% with %}{% set x = 1 %}{{ x }}{% endwith %}{{ x }}
{% with x = 1, y = n %}{{ x }}{{ y }}{% endwith %}
{% with x = 1 %}{% with x = 2, y = x %}{{ x }}{{ y }}{% endwith %}{% endwith %}
{% macro m(a, b='z') %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b=3, a=4) }}
{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m() }}
{% macro m(a) %}[{{ a is defined }}]{% endmacro %}{{ m() }}
{% macro m(a, b=a) %}[{{ b }}]{% endmacro %}{{ m(5) }}
{% macro m(a) %}x{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}x{% endmacro %}{{ m(z=2) }}
{% macro m(a) %}x{% endmacro %}{{ m(1, a=2) }}
{% macro m(a=1, b) %}x{% endmacro %}
{% macro m() %}{{ n }}{{ y }}{% endmacro %}{% set y = 'late' %}{{ m() }}
{% macro m() %}{% set y = 2 %}{{ y }}{% endmacro %}{% set y = 1 %}{{ m() }}{{ y }}
{% macro m(x) %}{{ x }}{% if x > 0 %}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(4) }}
{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}
{% macro m(x) %}{% for i in x %}{{ i }}{% endfor %}{% endmacro %}{{ m(list) | length }}
{% macro m() %}  a{% endmacro %}{{ m() | trim }}
{% macro a() %}A{% endmacro %}{% macro b() %}{{ a() }}B{% endmacro %}{{ b() }}
{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}body {{ n }}{% endcall %}
{% macro m(x) %}[{{ caller(x, 2) }}]{% endmacro %}{% call(a, b=9) m(1) %}{{ a }}{{ b }}{% endcall %}
{% macro m() %}{% if caller %}c{% endif %}{{ caller() if caller is defined }}{% endmacro %}{% call m() %}x{% endcall %}{{ m() }}
{% call s() %}x{% endcall %}
{% filter upper %}a {{ s }}{% endfilter %}
{% filter trim | upper %} a {% endfilter %}
{% filter replace('a', 'b') %}banana{% endfilter %}
{% generation %}a{{ s }}{% endgeneration %}
{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}
{% generation %}{% set x = 1 %}{% endgeneration %}{{ x }}
{% print s, n %}
{% do list %}
{% include 'x' %}
{% import 'x' as y %}
{% from 'x' import y %}
{% extends 'x' %}
{% nope %}
{% endif %}
{% if yes %}
{% for x in list %}
{% for x %}{% endfor %}
{% if %}{% endif %}
{% else %}
{% if yes %}a{% endfor %}
{{ }}
{{ s
{% if yes
{{ s }
{{ {'a': {'b': 1}} }}
{{ {'a': {'b': 1}}['a']['b'] }}
{{ '}}' }}{{ "%}" }}
{{ '{{' }}
{% if '%}' == '%}' %}a{% endif %}
a { b } c {x} %}
{% if yes: %}a{% endif %}
{{ raise_exception('bad ' ~ n) }}
{% if no %}{{ raise_exception('bad') }}{% endif %}fine
{% for m in messages %}{{ m.role }}: {% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% else %}<image>{% endif %}{% endfor %}{% endif %};{% endfor %}
{% for m in messages[::-1] %}{{ m.role }}{% endfor %}
{% for m in messages %}{% for t in m.tool_calls or [] %}{{ t.function.name }}{{ t.function.arguments | tojson }}{% endfor %}{% endfor %}
{% for m in messages | selectattr('role', 'ne', 'system') %}{{ m.role }}{{ loop.index }}{% endfor %}
{% set g = list | map('string') %}{{ g | join }}{{ g | join }}
{% for x in list | map('string') %}{{ x }}{{ loop.length }}{% endfor %}
{%- for x in list %}@    {{- x }}@{%- endfor %}
{%- if yes %}@    {{- 'a' }}@    b@{%- endif %}@
{%- set x = 1 -%}@@  {{ x }}
  {% set x = 1 %}@  {{ x }}
	{% if yes %}@tab@	{% endif %}@
a@@{% if yes %}@@b{% endif %}@@c
a@{% if yes %}b@{% endif %}  @
{{ s -}}@  x
{{ s }}@  {{- s }}
@
  @
{% if yes %}a@@{% endif %}@@
"""

THINK = """        {%- set content = message.content if message.content is string else '' %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or reasoning_content) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
"""
QUERY = """{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" %}
        {%- set content = message.content if message.content is string else '' %}
        {%- if not(content.startswith('<tool_response>') and content.endswith('</tool_response>')) %}
            {%- set ns.multi_step_tool = false %}
            {%- set ns.last_query_index = index %}
        {%- endif %}
    {%- endif %}
{%- endfor %}
"""


def thinking_template():
    """Qwen3-VL's template with what the Thinking variants do: thoughts of earlier turns are dropped."""
    template = released_template("qwen3_vl")
    head, rest = template.split("""    {%- elif message.role == "assistant" %}\n""")
    _, tail = rest.split("        {%- if message.tool_calls %}\n")
    head = head.replace("{%- for message in messages %}\n", QUERY + "{%- for message in messages %}\n", 1)
    tail = tail.replace("message.content)", "content)", 1).replace("assistant\\n'", "assistant\\n<think>\\n'")
    return head + """    {%- elif message.role == "assistant" %}\n""" + THINK + "        {%- if message.tool_calls %}\n" + tail


def render(template, variables):
    try:
        return _compile_jinja_template(template).render(**variables)
    except Exception:
        return None


def constructs():
    for line in EXPRESSIONS.strip("\n").split("\n"):
        yield "{{ " + line + " }}"
    for line in STATEMENTS.strip("\n").split("\n"):
        yield line.replace("@", "\n")


def prompts(template, plain):
    """Of every conversation, or of those whose contents are strings."""
    out = {}
    for name, messages in CONVERSATIONS.items():
        if not messages or (plain and not all(isinstance(m["content"], str) for m in messages)):
            continue
        for tools in (None, TOOLS):
            for thinking in (None, False):
                variables = {"messages": messages, "tools": tools, "add_generation_prompt": True}
                if thinking is not None:
                    variables["enable_thinking"] = thinking
                out[f"{name}/{bool(tools)}/{thinking}"] = render(template, variables)
    return out


def main():
    table = [[text, render(text, COMMON)] for text in constructs()]
    thinking = thinking_template()
    golden = {"common": COMMON, "constructs": table, "conversations": CONVERSATIONS, "tools": TOOLS,
              "thinking_template": thinking, "thinking": prompts(thinking, False)}
    if len(sys.argv) > 1:
        config = json.loads((pathlib.Path(sys.argv[1]) / "tokenizer_config.json").read_text(encoding="utf-8"))
        golden["qwen3"] = prompts(config["chat_template"], True)
    OUT.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(len(table), "constructs,", sum(text is None for _, text in table), "of them errors")


if __name__ == "__main__":
    main()
