"""One command line: what all five understand, and that --help and its examples are sound."""

import dataclasses
import importlib
import re
import shlex

import pytest

from ci.options_table import programs
from ci.tests import wrong_input as table
from common import UserError
from common.config import options as config
from common.config.options import WIDEST
from common.metrics import __main__ as metrics
from common.mindrecord import __main__ as mindrecord

MODELS = ("WDSR", "IRN", "SRFlow", "SRDiff", "CSNLN")
# What infer.py takes where no command is typed, or the one that upscales.
INFER = {"IRN": "UpscaleConfig", "SRFlow": "UpscaleConfig"}
ENTRIES = ("train", "eval", "infer", "export")
TEXTS = {metrics: [metrics.DESCRIPTION], mindrecord: [mindrecord.DESCRIPTION, mindrecord.PACKING]}
COMMANDS = re.compile(r"^ *python (?:-m )?((?:\w+/)*\w+\.py|common\.\w+) (.*)$", re.MULTILINE)


def options_of(model, entry):
    """The configuration class of a program."""
    module = importlib.import_module(f"{model}.{entry}")
    return getattr(module, INFER.get(model, "InferConfig") if entry == "infer" else f"{entry.capitalize()}Config")


@pytest.mark.parametrize("entry", ENTRIES)
def test_no_word_means_two_options(entry):
    for model in MODELS:
        cls = options_of(model, entry)
        words = [word for field in dataclasses.fields(cls) for word in (field.name, *field.metadata["aliases"])]
        assert len(words) == len(set(words)), (model, sorted(word for word in words if words.count(word) > 1))


@pytest.mark.parametrize("program", table.PROGRAMS, ids=lambda program: program.name)
def test_help(program, capsys, monkeypatch):
    """A usage that names the inputs, what it does, and a word about each option, in lines that can be read."""
    monkeypatch.setenv("COLUMNS", "200")
    module = importlib.import_module(program.module)
    with pytest.raises(SystemExit) as ended:
        module.main([*program.command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: ")
    assert [line for line in text.splitlines() if len(line) > WIDEST] == []
    described = text.partition("\n\n")[2]
    assert len(described.partition("\n\n")[0].split()) > 1, "no description"
    assert "{," not in text
    assert ",}" not in text
    shown = re.findall(r"\n  (--[\w.]+)", text)
    assert len(shown) == len(set(shown)), "an option is listed twice"
    if "infer" in program.module:
        assert re.match(r"usage: \S+( \w+)? [A-Z_]+", text), text[:100]


OF_MODELS = [program for program in table.PROGRAMS if not program.module.startswith("common.") and program.good]


@pytest.mark.parametrize("program", OF_MODELS, ids=lambda program: program.name)
def test_print_config(program, capsys, tmp_path):
    """What it prints is a file that says the same to the program."""
    module = importlib.import_module(program.module)
    file, printed = tmp_path / "printed.yaml", []
    for words in (program.good.split(), ["--config", str(file)]):
        with pytest.raises(SystemExit) as ended:
            module.main([*program.command, *words, "--print_config"])
        assert not ended.value.code
        printed.append(capsys.readouterr().out)
        file.write_text(printed[-1], encoding="utf-8")
    assert re.search(r"^\w+: .+\n", printed[0])
    assert printed[1] == printed[0]


@pytest.mark.parametrize("entry", ENTRIES)
def test_options_have_at_most_three_ancestors(entry):
    """The program's base, the network's options, and one more."""
    for model in MODELS:
        cls = options_of(model, entry)
        assert len(cls.__mro__) - 2 <= 3, cls.__mro__


def read_command(module, words):
    """What the program reads of a command line; nothing is done."""
    if module in TEXTS:
        return module._parser().parse_args(words)
    if hasattr(module, "COMMANDS"):
        return module.parse(list(words))
    model, _, name = module.__name__.partition(".")
    own = [cls for cls in vars(module).values() if dataclasses.is_dataclass(cls) and cls.__module__ == module.__name__]
    cls = dict(programs(model)).get(f"{name}.py") or own[0]
    if module.__name__.endswith(".infer"):
        return config.parse_inputs(cls, words, description="", usage="IMAGES ...")
    return config.parse(cls, words, description="")


def examples():
    """(folder to be in, module, words) of each command that a program shows of itself."""
    for name in dict.fromkeys(program.module for program in table.PROGRAMS):
        module = importlib.import_module(name)
        texts = TEXTS.get(module, [module.__doc__])
        for program, words in COMMANDS.findall("\n".join(texts)):
            folder = "" if "/" in program or module in TEXTS else name.split(".")[0]
            yield folder, module, shlex.split(words, comments=True)


EXAMPLES = list(examples())


def test_every_program_shows_an_example():
    shown = {module.__name__ for _, module, _ in EXAMPLES}
    assert shown == {program.module for program in table.PROGRAMS}


@pytest.mark.parametrize(("folder", "module", "words"), EXAMPLES, ids=[module.__name__ for _, module, _ in EXAMPLES])
def test_examples_are_understood(root, folder, module, words, monkeypatch):
    monkeypatch.chdir(root / folder)
    words = [word.replace("SRFlow_DF2K_4X.yml", str(root / "SRFlow" / "SRFlow_DF2K_4X.yml")) for word in words]
    read_command(module, words)


@pytest.mark.parametrize("model", MODELS)
def test_images_may_be_typed_without_a_flag(model, tmp_path):
    module, lost = importlib.import_module(f"{model}.infer"), str(tmp_path / "lost.png")
    command = ["upscale"] if model == "IRN" else []
    for words in ([lost, "--output", str(tmp_path)], ["--output", str(tmp_path), lost], ["--input", lost]):
        with pytest.raises(UserError, match=r"lost\.png"):
            module.main([*command, *words])
    option = "--attention_memory" if model == "CSNLN" else "--tile"
    for words in (["a", "b", option, "3"], [option, "3", "a", "b"], ["a", option, "3", "--input", "b"]):
        found, _ = config.parse_inputs(options_of(model, "infer"), words, description="", usage="IMAGES ...")
        assert found == ["a", "b"]


@pytest.mark.parametrize("model", MODELS)
def test_input_may_be_typed_several_times(model, tmp_path):
    """The last of any other option counts; what is typed, instead of what a file names."""
    cls = options_of(model, "infer")
    (tmp_path / "some.yaml").write_text("input: filed\noutput: x\n")
    words = ["--config", str(tmp_path / "some.yaml")]
    assert config.parse_inputs(cls, words, description="", usage="")[0] == ["filed"]
    words += ["--input", "a", "--input=b", "c", "--output", "y", "--output", "z"]
    inputs, options = config.parse_inputs(cls, words, description="", usage="")
    assert (inputs, options.output) == (["c", "a", "b"], "z")


@pytest.mark.parametrize(("model", "key"), [("IRN", "-opt"), ("SRFlow", "--opt")])
def test_tensorboard_is_written_as_the_authors_ask(model, key, tmp_path):
    file, cls = tmp_path / "some.yml", options_of(model, "train")
    file.write_text("use_tb_logger: true\ntrain: {niter: 3}\n")
    assert config.parse(cls, [key, str(file)], description="").niter == 3
    file.write_text("use_tb_logger: false\ntrain: {niter: 3}\n")
    with pytest.raises(UserError, match="use_tb_logger must be true, not 'false': TensorBoard's events are"):
        config.parse(cls, [key, str(file)], description="")


@pytest.mark.parametrize("model", MODELS)
def test_other_spellings_hold_on_the_command_line_and_in_a_file(model, tmp_path):
    """Of training: what the seeds of other models call the batch's patches, the data, the rate, the log."""
    cls = options_of(model, "train")
    words = {"GT_size": "96", "gradient_clipping": "3", "print_freq": "7", "val_freq": "9", "distribute": "false"}
    words |= {"lr_G": "0.5", "save": "there", "keep_checkpoint_max": "2", "resume_state": "auto", "dataroot": "HR"}
    (tmp_path / "some.yaml").write_text("".join(f"{word}: {value}\n" for word, value in words.items()))
    line = config.parse(cls, [part for word, value in words.items() for part in (f"--{word}", value)], description="")
    file = config.parse(cls, ["--config_path", str(tmp_path / "some.yaml")], description="")
    assert file == line
    found = (line.patch_size, line.gclip, line.log_every, line.test_every, line.run_distribute, line.lr)
    assert found == (96, 3, 7, 9, False, 0.5)
    assert (line.save_dir, line.ckpt_save_max, line.resume) == ("there", 2, "auto")
    assert "HR" in dataclasses.astuple(line)
    (tmp_path / "twice.yaml").write_text("GT_size: 96\npatch_size: 48\n")
    with pytest.raises(UserError, match=r"twice\.yaml: GT_size and patch_size are the same option: give one of them"):
        config.load(cls, tmp_path / "twice.yaml")
