"""Hostile recipes from the whole syntax of Hydra, OmegaConf and YAML, the same for one seed.

    for recipe in hostile(1000, seed=1):
        recipe.construct    # "package", "resolver", "tag", …: a key of CONSTRUCTS
        recipe.why          # the text that is outside the grammar
        recipe.data         # the bytes of the file

Each one begins as a recipe of the box, in one of the ways that YAML has for the same content. It
gets one construct that no recipe may hold, so it must be refused, whatever else it holds. The
payloads are live: a payload that is not refused makes a file `RAN` in the working folder, or shows
the value of the variable `LUTHIER_CANARY`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

__all__ = ["CONSTRUCTS", "Hostile", "hostile", "made"]

CALL = '"()": subprocess.check_call, args: [[touch, RAN]]'
TARGET = "_target_: subprocess.check_call, _args_: [[touch, RAN]]"
BOX: Mapping[str, str] = {
    "title": "a song",
    "target": "cpu",
    "precision": "fp32",
    "model": "htdemucs_small",
    "dataset": "synthetic",
    "exporter": "onnx",
    "graph": "[onnxsim]",
    "dsp": "stft",
    "chunker": "{plugin: overlap_add, length: 44100, overlap: 0.25}",
    "runtime": "onnxruntime",
    "evaluator": "[separation]",
}
GROUPS = ("dataset", "model", "runtime", "chunker", "exporter", "dsp", "target", "quantizer")
#: The places for a text: a key of the recipe, and its value around the text.
TEXTS = (
    ("title", "{}"), ("model", "{{plugin: htdemucs, weights: {}}}"), ("precision", "{}"),
    ("chunker", "{{plugin: overlap_add, length: {}, overlap: 0.25}}"), ("graph", "[{}]"),
    ("graph", "{{onnxsim: {{check: {}}}}}"), ("contract", "{{max_sdr_drop_db: {}}}"),
    ("ladder", "[fp32, {}]"), ("batch", "{{retries: {}}}"), ("target", "{{title: {}}}"),
    ("dataset", "{{plugin: files, path: {}}}"), ("measure", "{{probe_windows: {}}}"),
    ("reporter", "{{mlflow: {{experiment: {}}}}}"), ("evaluator", "[separation, {}]"),
)  # fmt: skip
#: The places for one more key beside other keys, at any depth.
PAIRS = (
    ("chunker", "{{plugin: overlap_add, {}}}"), ("model", "{{{}, plugin: htdemucs}}"),
    ("calibration", "{{plugin: synthetic, {}}}"), ("graph", "{{onnxsim: {{{}}}}}"),
    ("batch", "{{retries: 1, {}}}"),
    ("dataset", "{{plugin: synthetic, seconds: {{x: [1, {{{}}}]}}}}"), ("measure", "{{{}}}"),
    ("contract", "{{{}}}"), ("fit", "{{{}}}"), ("reporter", "{{html: {{{}}}}}"),
    ("sweep", "{{retries: 1, {}}}"), ("dsp", "{{plugin: stft, {}}}"), ("precision", "{{{}}}"),
)  # fmt: skip
#: The place that takes any key: it gets only keys that are hostile everywhere.
FREE = ("target", "{{facts: {{soc: {{{}}}}}}}")


@dataclass(frozen=True)
class Hostile:
    """A recipe that must be refused, with its construct and the hostile text as the reason."""

    construct: str
    why: str
    data: bytes


@dataclass
class Draft:
    """An unfinished recipe: flow values by key, and the texts before, between and after them."""

    keys: dict[str, str] = field(default_factory=lambda: dict(BOX))
    first: str = ""
    more: list[str] = field(default_factory=list)
    encoding: str = "utf-8"
    last: bytes = b""

    def text(self, draw: Random, value: str) -> str:
        """Put a flow value at a place for a text."""
        key, around = draw.choice(TEXTS)
        self.keys[key] = around.format(value)
        return value

    def pair(self, draw: Random, pair: str, *, anywhere: bool = False) -> str:
        """Put a pair in a mapping, at the top or deeper."""
        if draw.random() < 0.3 and ", " not in pair:
            self.more.append(pair)
        else:
            key, around = draw.choice((*PAIRS, FREE) if anywhere else PAIRS)
            self.keys[key] = around.format(pair)
        return pair


Payload = Callable[[Random, Draft], str]


def hostile(count: int, seed: int) -> Iterator[Hostile]:
    """Yield `count` hostile recipes; every construct has its turn, in an order by the seed."""
    draw = Random(seed)  # noqa: S311  # chooses cases, guards nothing
    turns: list[str] = []
    for _ in range(count):
        turns = turns or draw.sample(sorted(CONSTRUCTS), len(CONSTRUCTS))
        yield made(turns.pop(), draw)


def made(construct: str, draw: Random) -> Hostile:
    """Return one recipe with `construct` in it."""
    draft = Draft()
    why = CONSTRUCTS[construct](draw, draft)
    return Hostile(construct, why, written(draw, draft))


def written(draw: Random, draft: Draft) -> bytes:
    """Return the bytes of a recipe, in one of the many ways to write the same content."""
    keys = list(draft.keys.items())
    draw.shuffle(keys)
    lines = [f"{_quoted(draw, key)}: {value}" for key, value in keys]
    for line in draft.more:
        lines.insert(draw.randrange(len(lines) + 1), line)
    if draw.random() < 0.15 and not draft.more and not any("\n" in line for line in lines):
        text = draft.first + "{" + ", ".join(lines) + "}\n"
    else:
        text = draft.first + "\n".join(lines) + "\n"
        if draw.random() < 0.3:
            text = text.replace("\n", "  # a comment\n", 1) if not draft.first else text
    if draw.random() < 0.1:
        text = text.replace("\n", "\r\n")
    if draw.random() < 0.1 and draft.encoding == "utf-8":
        text = "\ufeff" + text
    return text.encode(draft.encoding, "surrogatepass") + draft.last


def _quoted(draw: Random, key: str) -> str:
    """Write a key plainly, in quotes, or with one letter as an escape of YAML."""
    ways = (key, key, key, key, f'"{key}"', f"'{key}'", f'"\\x{ord(key[0]):02x}{key[1:]}"')
    return draw.choice(ways) if key.isidentifier() else key


def _one_of(*values: str) -> Payload:
    """Return a payload that puts one of several values at a place for a text."""
    return lambda draw, draft: draft.text(draw, draw.choice(values))


def _pair_of(*pairs: str, anywhere: bool = False) -> Payload:
    """Return a payload that puts one of several pairs into a mapping."""
    return lambda draw, draft: draft.pair(draw, draw.choice(pairs), anywhere=anywhere)


def _at(keys: Sequence[str], around: str, *values: str) -> Payload:
    """Return a payload that gives one of `keys` one of several values, inside `around`."""

    def put(draw: Random, draft: Draft) -> str:
        value = around.format(draw.choice(values))
        draft.keys[draw.choice(keys)] = value
        return value

    return put


def _entry_of(*entries: str) -> Payload:
    """Return a payload that puts one of several entries into `defaults`."""
    return lambda draw, draft: _defaults(draw, draft, draw.choice(entries))


def _line_of(*lines: str) -> Payload:
    """Return a payload that adds one of several lines to the top of the recipe."""

    def put(draw: Random, draft: Draft) -> str:
        line = draw.choice(lines)
        draft.more.append(line)
        return line

    return put


def _first_of(*texts: str) -> Payload:
    """Return a payload that puts one of several texts before everything else."""

    def put(draw: Random, draft: Draft) -> str:
        draft.first = draw.choice(texts)
        return draft.first

    return put


def _defaults(draw: Random, draft: Draft, entry: str) -> str:
    """Put an entry into `defaults`, among entries that are allowed there."""
    entries = ["{override /target: s24}", "_self_"][: draw.randrange(3)]
    entries.insert(draw.randrange(len(entries) + 1), entry)
    draft.keys["defaults"] = f"[{', '.join(entries)}]"
    return entry


def _package(draw: Random, draft: Draft) -> str:
    """Send a group's content to another package, for example into Hydra's loggers."""
    to = draw.choice(
        ("hydra.job_logging", "hydra.hydra_logging", "hydra.run", "hydra.job.env_set", "_global_",
         "hydra.launcher", "hydra", "_here_", "_group_", "_name_", "_global_.hydra.job_logging",
         "..hydra", "hydra.callbacks", ":hydra.run", "", ":", "model.options", "hydra.sweeper")
    )  # fmt: skip
    draft.keys["calibration"] = (
        f"{{plugin: synthetic, root: {{handlers: [h]}}, handlers: {{h: {{{CALL}}}}}}}"
    )
    name = draw.choice(("toy", "recipe", "my_recipe"))
    choice = draw.choice((f"_{name}_calibration", "synthetic", "htdemucs", "cpu", "null"))
    group = draw.choice(GROUPS)
    way = draw.choice(
        ('"/{g}/{c}@{p}"', '{{"/{g}@{p}": {c}}}', '{{"override /{g}@{p}": {c}}}', '"{g}/{c}@{p}"',
         '{{"optional /{g}@{p}": {c}}}', '{{"/{g}@model:{p}": {c}}}', '{{"{g}@{p}": [{c}]}}')
    )  # fmt: skip
    return _defaults(draw, draft, way.format(g=group, c=choice, p=to))


def _hydra_group(draw: Random, draft: Draft) -> str:
    """Choose one of Hydra's own parts in `defaults`."""
    group, choice = draw.choice(
        (("job_logging", "default"), ("hydra_logging", "colorlog"), ("launcher", "joblib"),
         ("sweeper", "optuna"), ("launcher", "submitit_local"), ("env", "default"),
         ("help", "default"), ("output", "default"), ("callbacks", "null"))
    )  # fmt: skip
    way = draw.choice(
        ('{{"override hydra/{g}": {c}}}', '{{"override /hydra/{g}": {c}}}', '{{"/hydra/{g}": {c}}}',
         '"/hydra/{g}/{c}"', '"hydra/{g}: {c}"', '{{"optional hydra/{g}": {c}}}',
         '{{"optional override /hydra/{g}": {c}}}', '{{"override /hydra/{g}@hydra.{g}": {c}}}',
         '{{"o\\x76erride hydra\\x2f{g}": {c}}}')
    )  # fmt: skip
    return _defaults(draw, draft, way.format(g=group, c=choice))


def _defaults_elsewhere(draw: Random, draft: Draft) -> str:
    """Give a stage, or a list of options, its own `defaults`."""
    entries = draw.choice(
        ("[_self_]", '["/dataset/synthetic@hydra.job_logging"]', "[/hydra/launcher/joblib]",
         "[{override /hydra/job_logging: default}]", "[../target/cpu]", "[]", "null")
    )  # fmt: skip
    key, around = draw.choice((*PAIRS, FREE))
    draft.keys[key] = around.format(f"defaults: {entries}")
    return draft.keys[key]


def _duplicate(draw: Random, draft: Draft) -> str:
    """Write a key twice, at the top or deeper, in two spellings."""
    line = draw.choice(
        ("model: htdemucs", "'model': whole", '"mod\\x65l": null', "? model\n: htdemucs")
    )
    if draw.random() < 0.6:
        draft.more.append(line)
        return line
    draft.keys["chunker"] = '{plugin: overlap_add, length: 1, "len\\x67th": 2}'
    return draft.keys["chunker"]


def _nested(draw: Random, draft: Draft) -> str:
    """Nest far deeper than any recipe, in flow or in block style."""
    depth = draw.choice((100, 1_000, 10_000))
    kind = draw.randrange(3)
    if kind == 0:
        draft.text(draw, "[" * depth + "]" * depth)
    elif kind == 1:
        draft.text(draw, "{a: " * depth + "1" + "}" * depth)
    else:
        draft.more.append(
            "contract:\n" + "".join(f"{' ' * n}a:\n" for n in range(1, min(depth, 1000)))
        )
    return f"{depth} levels"


def _many(draw: Random, draft: Draft) -> str:
    """Hold far more than any recipe: keys, entries, aliases, or one long text."""
    count = draw.choice((25_000, 100_000))
    # Long texts and aliases are noticed at once; keys and entries must be read one by one.
    kind = draw.choice((0, 1, 2, 3, 3, 3, 4, 4, 4))
    if kind == 0:
        draft.more.append("\n".join(f"k{n}: {n}" for n in range(count)))
    elif kind == 1:
        draft.keys["contract"] = "{" + ", ".join(f"k{n}: {n}" for n in range(count)) + "}"
    elif kind == 2:
        draft.keys["ladder"] = "[" + "fp32, " * count + "fp32]"
    elif kind == 3:
        draft.keys["title"] = "x" * (count * 20)
    else:
        draft.keys["title"] = "&t x"
        draft.keys["ladder"] = "[" + "*t, " * count + "*t]"
        # An alias comes after its anchor only in this order.
        draft.first = f"title: {draft.keys.pop('title')}\n"
    return f"kind {kind} of {count}"


def _bomb(draw: Random, draft: Draft) -> str:
    """Refer to references of references: a few lines that stand for billions of entries."""
    if draw.random() < 0.3:
        return draft.text(draw, draw.choice(("&a [*a]", "&a {x: *a}", "&a [1, {b: *a}]")))
    levels, width = draw.choice(((9, 9), (30, 2), (6, 50)))
    mapping = draw.random() < 0.5
    lines = ["a0: &a0 [x, x]"]
    for n in range(1, levels):
        inner = [f"k{i}: *a{n - 1}" if mapping else f"*a{n - 1}" for i in range(width)]
        body = ", ".join(inner)
        lines.append(f"a{n}: &a{n} " + (f"{{{body}}}" if mapping else f"[{body}]"))
    draft.keys["contract"] = "{" + ", ".join(lines) + "}"
    return f"{width} to the power of {levels}"


def _encoded(draw: Random, draft: Draft) -> str:
    """Write the file in an encoding other than UTF-8, or with bytes that no text has."""
    if draw.random() < 0.5:
        draft.encoding = draw.choice(("utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-be"))
        return draft.encoding
    draft.last = draw.choice(
        (b"\0", b"# \xff\xfe\n", b"# caf\xe9\n", b"title2: '\x1b[31m'\n", b"# \xed\xa0\x80\n",
         b"# \xc0\xaf\n", b"# \x7f\x00\n", b"\x01: 1\n", b"# \xf8\x88\x80\x80\x80\n")
    )  # fmt: skip
    return repr(draft.last)


def _look_alike(draw: Random, draft: Draft) -> str:
    """Write a key in letters that only look like it, or with invisible characters."""
    key = draw.choice(list(BOX))
    value = draft.keys.pop(key)
    wrong = draw.choice(
        (key.replace("e", "\u0435").replace("p", "\u0440"), key.translate(WIDE),
         key[0] + "\u200b" + key[1:], key + "\u00a0", key + "\u0301", "\u202e" + key[::-1],
         key[0].upper() + key[1:], "\u2060" + key)
    )  # fmt: skip
    if wrong == key:
        wrong = key.translate(WIDE)
    draft.more.append(f'"{wrong}": {value}')
    return wrong


WIDE = {ord(c): ord(c) + 0xFEE0 for c in "abcdefghijklmnopqrstuvwxyz"}


def _full_width(draw: Random, draft: Draft) -> str:
    """Write marks of YAML, a space or a name in full-width, typographic or look-alike forms."""
    line = draw.choice(
        ("model\uff1a htdemucs", "model\uff1ahtdemucs", "chunker: \uff5bplugin: whole\uff5d",
         "graph: \uff3bonnxsim\uff3d", "model: \u201chtdemucs\u201d", "model\u2028: x",
         "model\x85x: y", "# it is only a remark \x85hydra: {run: {dir: /tmp}}",
         "# \u2028hydra: {run: {dir: /tmp}}",
         "# \u2029_target_: subprocess.check_call", "dataset: synth\u0435tic", "\u00a0model: x",
         "model:\u00a0htdemucs", "precision: \uff46\uff50\uff13\uff12")
    )  # fmt: skip
    draft.keys.pop(line.partition(":")[0], None)
    for key in ("model", "graph", "chunker"):
        if line.startswith(key):
            draft.keys.pop(key, None)
    draft.more.append(line)
    return line


def _two_documents(draw: Random, draft: Draft) -> str:
    """Put a second document after the recipe, or one before it."""
    text = draw.choice(
        (f"---\n{TARGET.replace(', ', chr(10))}\n", "---\nhydra: {run: {dir: /tmp}}\n",
         "...\n---\nstore: /tmp/elsewhere\n", "--- {a: b}\n", "---\n---\n")
    )  # fmt: skip
    if draw.random() < 0.5:
        draft.first = text + "---\n"
    else:
        draft.last = text.encode()
    return text


# fmt: off
CONSTRUCTS: Mapping[str, Payload] = {
    "package": _package,
    "hydra's group": _hydra_group,
    "defaults elsewhere": _defaults_elsewhere,
    "path in defaults": _entry_of(
            "/../../etc/passwd", "../target/../../x", "/dataset/../dataset/synthetic",
            "./synthetic",
             "file:///etc/passwd", "pkg://hydra.conf/hydra/job_logging/default", "//target/cpu",
             "{/target/../target: cpu}", "{/../hydra/launcher: joblib}", "/dataset//synthetic",
             '"C:\\\\x"', "{override /target: ../../x}", "{override /target: /etc/passwd}",
             "{..: x}", "{override /model/..: x}", '"/dataset/synthetic.yaml"', "{/: cpu}",
    ),
    "unknown group": _entry_of(
            "{override /secrets: x}", "{/settings: x}", "config", "/config",
            "{override /mode: run}",
             "{override /target: no_such_target}", "{override /target: 5}",
             "{override /target: [cpu, s24]}", "{override /target: {a: b}}", "5", "[[_self_]]",
             "null",
             "{a: b, c: d}", '{"override": x}', '"${target}"', "{override /model: ${oc.env:X}}",
             "{override override /target: cpu}", "{~target: cpu}",
             "{override /model: _toy_calibration}",
             '{"override /target": "???"}', "true", "{override /recipe: cpu_fp32}", '""',
    ),
    "defaults of a wrong shape": _at(
        ("defaults",), "{}", "5", "{a: b}", "synthetic", '"[_self_]"', "{override /target: cpu}"
    ),
    "resolver": _one_of(
        '"${oc.env:LUTHIER_CANARY}"', '"${oc.env:LUTHIER_CANARY,x}"', '"${oc.decode:${oc.env:X}}"',
        '"${oc.create:{a: b}}"', '"${oc.select:hydra.job.name}"', '"${oc.dict.keys:hydra}"',
        '"${oc.dict.values:hydra.runtime}"', '"${oc.deprecated:title}"', '"${hydra:runtime.cwd}"',
        '"${now:%Y}"', '"${python_version:micro}"', '"${ oc.env : LUTHIER_CANARY }"',
        '"x${oc.env:LUTHIER_CANARY}y"', '"\\x24{oc.env:LUTHIER_CANARY}"',
        "'${oc.env:LUTHIER_CANARY}'",
        "${oc.env:LUTHIER_CANARY}", '"$\\\n  {oc.env:LUTHIER_CANARY}"',
        '"${oc.env:\\x4cUTHIER_CANARY}"',
        '"${oc.stringify:1}"', '"${env:LUTHIER_CANARY}"', '"${oc.env:\'LUTHIER_CANARY\'}"',
        '"\\\\\\\\${oc.env:LUTHIER_CANARY}"',
    ),
    "nested interpolation": _at(
                ("title",), "{}",
                '"${oc.${fit.axis}:LUTHIER_CANARY}"', '"${${fit.axis}:LUTHIER_CANARY}"',
                 '"${oc.${.fit.axis}:LUTHIER_CANARY}"', '"${${fit.axis}.x}"',
                 '"${fit.${fit.axis}}"', '"${${title}}"', '"${oc.${oc.decode:env}:X}"',
    ),
    "interpolation outside": _one_of(
        '"${hydra.runtime.cwd}"', '"${hydra.job.env_set}"', '"${hydra.run.dir}"',
        '"${.....hydra.job}"',
        '"${hydra}"', '"${no_such_key}"', '"${model.no_such_option}"', '"${[hydra][run]}"',
        '"${.}"',
        '"${}"', '"${hydra[run][dir]}"', '"${"', '"${a"', '"${..}"', '"${_target_}"',
        '"${[hydra]}"',
    ),
    "interpolation in a key": _pair_of(
        '"${oc.env:LUTHIER_CANARY}": 1', '"${title}": 1', '"a${hydra.run.dir}": 1', '"${": 1',
        anywhere=True,
    ),
    "tag": _one_of(
        '!!python/object/apply:os.system ["touch RAN"]',
        "!!python/object/new:os.system [touch RAN]",
        "!!python/name:os.system", "!!python/module:os", "!!python/tuple [1, 2]",
        "!!binary aGVsbG8=",
        "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]", "!include /etc/passwd",
        "!!timestamp 2020-01-01",
        '!<tag:yaml.org,2002:python/object/apply:os.system> ["touch RAN"]', "!env LUTHIER_CANARY",
        "!x y",
        "!!python/object/apply:subprocess.check_call [[touch, RAN]]", "!!js/function 'x'",
        "!!map [a]",
        "!!python/complex 1j", "!!python/bytes aGVsbG8=", "!!int x", "!!float {a: b}",
    ),
    "directive": _first_of(
        "%TAG ! tag:yaml.org,2002:python/\n---\na: !object/apply:os.system [touch RAN]\n",
        "%TAG !p! tag:yaml.org,2002:python/object/\n---\nb: !p!apply:os.system [touch RAN]\n",
        "%YAML 2.0\n---\n", "%YAML 1.1\n%YAML 1.1\n---\n", "%YAML x\n---\n", "%\n---\n",
    ),
    "merge key": _pair_of(
        f"<<: {{{TARGET}}}", "<<: {hydra: {run: {dir: /tmp}}}",
        "<<: [{a: 1}, {_target_: os.getcwd}]",
        "<<: 5", "<<: *nothing", "<<: &a {b: *a}", anywhere=True,
    ),
    "alias bomb": _bomb,
    "alias of nothing": _one_of("*nothing", "[*a, &a b]", "*"),
    "duplicate key": _duplicate,
    "two documents": _two_documents,
    "instantiation": _pair_of(
        TARGET, "_target_: subprocess.check_call", "_partial_: true", "_args_: [x]",
        "_recursive_: false",
        "_convert_: all", '"_t\\x61rget_": os.getcwd', "x: {_target_: os.getcwd}", "_mode_: x",
        "x: [[{_target_: os.getcwd}]]", anywhere=True,
    ),
    "hydra's node": _line_of(
        "hydra: {run: {dir: /tmp}}", "hydra: {job: {env_set: {PATH: /tmp}}}",
        "hydra/launcher: joblib",
        f"hydra: {{job_logging: {{handlers: {{h: {{{CALL}}}}}}}}}", "'hydra': null",
        '"hydr\\x61": {}',
        "hydra.run.dir: /tmp", "hydra: !!null", "+hydra: {}", "~hydra: null", "/hydra: x",
        "++hydra.mode: MULTIRUN",
        f"hydra: {{callbacks: {{a: {{{TARGET}}}}}}}", "hydra: {searchpath: ['file:///tmp']}",
        "hydra@x: y",
        "hydra: {sweep: {dir: /tmp}}", "hydra: {output_subdir: x}", "hydra: {mode: MULTIRUN}",
        "? hydra\n: {}",
    ),
    "key that is no text": _pair_of(
        "1: x", "true: x", "null: x", "1.5: x", "on: x", "yes: x", "~: x", "[a, b]: x",
        "{a: b}: x", "2020-01-01: x", "!!binary aGk=: x", "0x1F: x", ".nan: x", "1_000: x", ": x",
        "'': x",
    ),
    "key in the command line's syntax": _line_of(
        "+model: htdemucs", "~model: null", "++model: htdemucs", "/model: htdemucs",
        "model@dsp: htdemucs",
        "model.weights: random", "override model: htdemucs", "model/weights: random",
        "optional model: x",
        "plugin: htdemucs", "recipe: cpu_fp32", "'model ': htdemucs", '"model\\n": htdemucs',
        "_self_: x",
    ),
    "missing value": _at(("model", "dsp", "chunker"), "{}", '"???"', "???", "{plugin: ???}"),
    "look-alike": _look_alike,
    "full-width mark": _full_width,
    "another encoding": _encoded,
    "deep nesting": _nested,
    "too much": _many,
    "damaged YAML": _line_of(
        "model: [", "model: {a: b", "  - x\n a: b", "\tmodel: x", "model: 'x", 'model: "x\\q"',
        "model: x: y",
        "- a", "@a: b", "`a`: b", "model: |\n x\n\ty: z\n w", "a: b: c", "? ? ? ?", "model: >9\n x",
        "]", "key",
        'model: "\\ud800"', "%a: b", "a: &", "a: !", "model: [a, b",
    ),
    "a value of a wrong type": _at(
        ("chunker",), "{{plugin: overlap_add, length: {}}}", ".inf", "-.inf", ".nan", "-1", "0",
        "2020-01-01",
        "9" * 5000, "1e999", "{}", "[]", "true", "x", "0x" + "f" * 4000, "1.5", "12:30:45",
        '"44100\\x00"', "0o7x",
    ),
    "a place outside": _line_of(
        "store: /tmp/elsewhere", "store: s3://bucket/x", "output: /tmp/elsewhere", '"st\\x6fre": x',
        "'output': ..",
        "store: https://user:secret@host/x", "output: {a: b}",
        "reporter: {mlflow: {uri: 'http://169.254.169.254/'}}",
        "reporter: {mlflow: {uri: 'sqlite:////tmp/x.db'}}", "? store\n: x", "store: ${title}",
        "output: memory://x",
    ),
    "unknown key": _line_of(
        "modle: htdemucs", "exec: x", "include: other.yaml", "extends: x", "import: os",
        "environment: {A: b}",
        "chunker2: whole", "__class__: x", "__proto__: {a: b}", "settings: x", "config: x",
        "MODEL: x",
    ),
    "unknown option": _at(
        ("chunker",), "{{plugin: overlap_add, {}}}", "exec: x", "__init__: x",
        "options: {length: 5}", "name: x",
        "plugin2: x", "cls: x", "__class__: {a: b}", "plugin: whole", "Options: {}", "on_device: x",
        "length.x: 5",
    ),
    "a stage that is no name": _at(
        ("model", "chunker", "dsp", "dataset", "runtime"), "{}",
        "5", "[a]", "1.5", "true", "../x", "/etc/passwd", "htdemucs@hydra", '"htdemucs,whole"',
        "{plugin: [a, b]}",
        "{plugin: {plugin: x}}", "{plugin: 5}", "{plugin: null, a: b}", "{plugin: 'override x'}",
        "{plugin: ''}",
        "{plugin: htdemucs@_global_}", "{plugin: /dataset/../x}", '"x: y"', '"_toy_calibration"',
        "{plugin: no_such}",
        "no_such_plugin", '"synthetic "', '"a\\nb"', "{plugin: '${oc.env:LUTHIER_CANARY}'}",
        "_self_", "_global_",
        "{plugin: 'optional x'}", '"htdemucs=whole"', '"choice(a,b)"', '"glob(*)"',
        "{plugin: _here_}", "2020-01-01",
    ),
    "a list of stages that is none": _at(
            ("graph",), "{}",
            '["onnxsim@hydra.x"]', "[{override /x: y}]", "[onnxsim, _self_]", "[[onnxsim]]", "[5]",
            "[null]",
             "[onnxsim, onnxsim]", "['../x']", "{no_such: {a: b}}", "{onnxsim: 5}",
             "{onnxsim: {exec: x}}", "[true]",
             "{onnxsim: [a]}", '["onnxsim: x"]', "['/graph/onnxsim']", "[{onnxsim: {a: b}}]",
             "['']", "5",
    ),
    "a target that is none": _at(
            ("target", "precision"), "{}",
            '"s24@hydra.job_logging"', "../target/s24", "/etc/passwd", "[cpu]", "5", "no_such",
            "_self_", '"cpu,s24"',
             '"a/b"', "schema@_global_", '"override cpu"', '"cpu: x"', "{name: {a: b}}",
             "{title: [x]}", "{exec: x}",
    ),
}
# fmt: on
